//! Every variable that the settings read: values it takes and refuses, and which variable wins.

use std::time::Duration;

use super::{Exporter, Propagator, Settings};

mod table;

/// Settings of these variables, some of which may be ignored.
fn read(variables: &[(&str, &str)]) -> Settings {
    Settings::from_lookup("gateway", "1.2.3", |name| {
        variables
            .iter()
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn good(variables: &[(&str, &str)]) -> Settings {
    let settings = read(variables);
    assert_eq!(settings.ignored, []);
    settings
}

#[test]
fn without_variables_everything_goes_to_otlp() {
    let settings = good(&[]);
    assert!(!settings.disabled);
    assert_eq!(
        (settings.traces, settings.metrics, settings.logs),
        (
            vec![Exporter::Otlp],
            vec![Exporter::Otlp],
            vec![Exporter::Otlp]
        )
    );
    assert_eq!(
        settings.propagators,
        [Propagator::TraceContext, Propagator::Baggage]
    );
    assert_eq!(
        (settings.service_name.as_str(), settings.log_filter.as_str()),
        ("gateway", "info")
    );
    assert_eq!(settings.sdk_log_level, None);
    assert_eq!(settings.otlp.traces.timeout, Some(Duration::from_secs(10)));
    assert!(!settings.otlp.traces.json && !settings.exponential_histograms);
    assert_eq!(
        (
            settings.limits.value_length,
            settings.log_limits.value_length
        ),
        (4096, 4096)
    );
}

#[test]
fn only_true_disables_and_an_empty_value_is_no_value() {
    for (value, disabled) in [
        ("true", true),
        ("TRUE", true),
        (" true ", true),
        ("false", false),
        ("1", false),
        ("yes", false),
        ("", false),
    ] {
        assert_eq!(
            read(&[("OTEL_SDK_DISABLED", value)]).disabled,
            disabled,
            "{value:?}"
        );
    }
    assert_eq!(
        good(&[("OTEL_TRACES_EXPORTER", "")]).traces,
        [Exporter::Otlp]
    );
}

#[test]
fn each_signal_has_its_exporter() {
    let settings = good(&[
        ("OTEL_TRACES_EXPORTER", "None"),
        ("OTEL_METRICS_EXPORTER", "console, OTLP,otlp"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
    ]);
    assert_eq!(
        (settings.traces, settings.metrics, settings.logs),
        (
            vec![],
            vec![Exporter::Console, Exporter::Otlp],
            vec![Exporter::Otlp]
        )
    );
}

#[test]
fn propagators_are_a_list() {
    use Propagator::{Baggage, TraceContext};
    let cases: [(&str, &[Propagator]); 5] = [
        ("tracecontext", &[TraceContext]),
        ("baggage, tracecontext", &[Baggage, TraceContext]),
        (
            "tracecontext,baggage,tracecontext",
            &[TraceContext, Baggage],
        ),
        ("none", &[]),
        ("", &[TraceContext, Baggage]),
    ];
    for (value, expected) in cases {
        assert_eq!(
            good(&[("OTEL_PROPAGATORS", value)]).propagators,
            expected,
            "{value:?}"
        );
    }
}

#[test]
fn the_service_is_named_by_variable_then_resource_then_program() {
    let resource = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "team=ml, service.name = edge ,service.version=9",
    );
    assert_eq!(good(&[resource]).service_name, "edge");
    assert_eq!(
        good(&[resource, ("OTEL_SERVICE_NAME", "front")]).service_name,
        "front"
    );
    assert_eq!(
        good(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=")]).service_name,
        "gateway"
    );
}

#[test]
fn a_variable_of_the_signal_wins_over_the_general_one() {
    let settings = good(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1500"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "700"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/traces.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/client.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/client.key"),
    ]);
    let otlp = settings.otlp;
    assert!(otlp.traces.json && otlp.metrics.json && !otlp.logs.json);
    let timeouts = [&otlp.traces, &otlp.metrics, &otlp.logs].map(|signal| signal.timeout);
    assert_eq!(
        timeouts,
        [3000, 1500, 700].map(|limit| Some(Duration::from_millis(limit))),
        "the export timeout bounds that of a request"
    );
    assert_eq!(
        otlp.traces.certificate.as_deref(),
        Some("/traces.pem".as_ref())
    );
    assert_eq!(otlp.logs.certificate.as_deref(), Some("/ca.pem".as_ref()));
    assert_eq!(
        otlp.metrics.client,
        Some(("/client.pem".into(), "/client.key".into()))
    );
}

#[test]
fn the_general_endpoint_is_a_base_and_that_of_a_signal_is_whole() {
    let endpoints = |variables: &[(&str, &str)]| {
        let otlp = good(variables).otlp;
        [otlp.traces, otlp.metrics, otlp.logs]
            .map(|signal| signal.endpoint.expect("an address").to_string())
    };
    assert_eq!(
        endpoints(&[]),
        ["traces", "metrics", "logs"].map(|signal| format!("http://localhost:4318/v1/{signal}"))
    );
    for base in ["https://collector/otlp", "https://collector/otlp/"] {
        assert_eq!(
            endpoints(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", base),
                ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:1/here"),
            ]),
            [
                "https://collector/otlp/v1/traces",
                "https://collector/otlp/v1/metrics",
                "http://logs:1/here"
            ]
        );
    }
}

#[test]
fn headers_are_a_list_of_percent_encoded_pairs_that_debug_output_hides() {
    let settings = read(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=7"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            " authorization = ApiKey%20secret ,empty=,no pair,x-b=%zz, bad name=1",
        ),
    ]);
    assert_eq!(settings.ignored.len(), 1, "{:?}", settings.ignored);
    assert!(!format!("{settings:?}").contains("secret"));
    let otlp = settings.otlp;
    assert_eq!(otlp.traces.headers.len(), 2);
    assert_eq!(otlp.traces.headers["authorization"], "ApiKey secret");
    assert_eq!(otlp.traces.headers["x-b"], "%zz");
    assert_eq!(otlp.logs.headers["x-tenant"], "7");
}

#[test]
fn limits_have_general_and_own_variables() {
    let limits = good(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "20"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "5"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100"),
    ])
    .limits;
    assert_eq!(
        (
            limits.span_attributes,
            limits.event_attributes,
            limits.link_attributes
        ),
        (20, 10, 5)
    );
    assert_eq!(limits.value_length, 100);
    assert_eq!(
        good(&[
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "7"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100")
        ])
        .limits
        .value_length,
        7
    );
}

#[test]
fn log_levels_of_the_sdk_are_those_of_tracing() {
    for (value, level) in [
        ("none", "off"),
        ("WARN", "warn"),
        ("fatal", "error"),
        ("all", "trace"),
    ] {
        assert_eq!(
            good(&[("OTEL_LOG_LEVEL", value)]).sdk_log_level.as_deref(),
            Some(level),
            "{value}"
        );
    }
}

#[test]
fn a_timeout_of_zero_is_no_limit() {
    let timeout = |variables: &[_]| good(variables).otlp.traces.timeout;
    let request = ("OTEL_EXPORTER_OTLP_TIMEOUT", "0");
    let batch = ("OTEL_BSP_EXPORT_TIMEOUT", "0");
    assert_eq!(timeout(&[request]), Some(Duration::from_secs(30)));
    assert_eq!(timeout(&[batch]), Some(Duration::from_secs(10)));
    assert_eq!(timeout(&[request, batch]), None);
}

#[test]
fn resource_attributes_are_decoded_or_discarded_as_a_whole() {
    let of = |value| {
        let settings = read(&[("OTEL_RESOURCE_ATTRIBUTES", value)]);
        (settings.resource_attributes, settings.ignored.len())
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let cases = [
        ("c=d%20e", vec![pair("c", "d e")]),
        ("a=1, b = 2 ,", vec![pair("a", "1"), pair("b", "2")]),
        ("a%2Cb=%C3%A4%3D", vec![pair("a,b", "ä=")]),
        ("a=b=c", vec![pair("a", "b=c")]),
        ("a=", vec![pair("a", "")]),
    ];
    for (value, expected) in cases {
        assert_eq!(of(value), (expected, 0), "{value}");
    }
    for bad in [
        "a=1,b",
        "a=1,=2",
        "a=1,b=%",
        "a=1,b=%2",
        "a=1,b=%zz",
        "a=1,b=%ff",
    ] {
        assert_eq!(of(bad), (Vec::new(), 1), "{bad}");
    }
}

#[test]
fn unknown_members_of_a_list_are_skipped() {
    let settings = read(&[
        ("OTEL_PROPAGATORS", "tracecontext,baggage,b3"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_LOGS_EXPORTER", "console,kafka"),
    ]);
    assert_eq!(
        settings.propagators,
        [Propagator::TraceContext, Propagator::Baggage]
    );
    assert_eq!(settings.traces, [Exporter::Otlp]);
    assert_eq!(settings.logs, [Exporter::Console]);
    let texts: Vec<_> = settings.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts.contains(&"OTEL_PROPAGATORS is `b3`; it takes tracecontext, baggage".to_owned()));
}

#[test]
fn a_wrong_value_of_the_signal_leaves_the_general_one_in_force() {
    let settings = read(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "ten"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
    ]);
    let traces = &settings.otlp.traces;
    assert_eq!(traces.timeout, Some(Duration::from_secs(2)));
    assert!(traces.gzip && traces.json);
    assert_eq!(settings.ignored.len(), 3, "{:?}", settings.ignored);
}

#[test]
fn words_have_no_case_and_deprecated_ones_are_unknown() {
    good(&[("OTEL_METRICS_EXEMPLAR_FILTER", "ALWAYS_OFF")]);
    let settings = read(&[("OTEL_TRACES_EXPORTER", "Logging,Console")]);
    assert_eq!(settings.traces, [Exporter::Console]);
    assert_eq!(settings.ignored.len(), 1);
}

#[test]
fn a_wrong_endpoint_is_not_replaced_and_not_shown() {
    for wrong in [
        "localhost:4318",
        "ftp://user:secret@host/",
        "not an address",
        "http://",
    ] {
        let settings = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", wrong)]);
        assert_eq!(settings.otlp.traces.endpoint, None, "{wrong}");
        assert!(settings.otlp.logs.endpoint.is_some());
        assert_eq!(settings.ignored.len(), 1);
        assert!(!settings.ignored[0].to_string().contains("secret"));
    }
}

#[test]
fn with_the_sdk_off_only_the_variables_of_propagation_are_read() {
    let settings = read(&[
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_PROPAGATORS", "b3"),
    ]);
    let ignored = settings
        .ignored
        .iter()
        .map(|ignored| ignored.variable.as_str());
    assert_eq!(ignored.collect::<Vec<_>>(), ["OTEL_PROPAGATORS"]);
}

#[test]
fn it_is_known_whether_every_trace_is_exported() {
    for (variables, every) in [
        (&[][..], true),
        (&[("OTEL_TRACES_SAMPLER", "always_on")], true),
        (&[("OTEL_TRACES_SAMPLER", "parentbased_always_off")], false),
        (
            &[
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.999"),
            ],
            false,
        ),
        (
            &[
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "1"),
            ],
            true,
        ),
        (&[("OTEL_TRACES_EXPORTER", "console")], false),
        (&[("OTEL_SDK_DISABLED", "true")], false),
    ] {
        assert_eq!(
            read(variables).exports_every_trace(),
            every,
            "{variables:?}"
        );
    }
}
