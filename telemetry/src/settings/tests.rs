//! Every variable that the settings read: values it takes and refuses, and which variable wins.

use std::time::Duration;

use super::{Exporter, Propagator, Settings, SettingsError};

fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::from_lookup("gateway", "1.2.3", |name| {
        variables
            .iter()
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn good(variables: &[(&str, &str)]) -> Settings {
    read(variables).expect("readable settings")
}

#[test]
fn without_variables_everything_goes_to_otlp() {
    let settings = good(&[]);
    assert!(!settings.disabled);
    assert_eq!(
        (settings.traces, settings.metrics, settings.logs),
        (Exporter::Otlp, Exporter::Otlp, Exporter::Otlp)
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
    assert_eq!(settings.otlp.traces.timeout, Duration::from_secs(10));
    assert!(!settings.otlp.traces.json && !settings.exponential_histograms);
    assert_eq!(settings.limits, super::SpanLimits::default());
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
            good(&[("OTEL_SDK_DISABLED", value)]).disabled,
            disabled,
            "{value:?}"
        );
    }
    assert_eq!(good(&[("OTEL_TRACES_EXPORTER", "")]).traces, Exporter::Otlp);
}

#[test]
fn each_signal_has_its_exporter() {
    let settings = good(&[
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
    ]);
    assert_eq!(
        (settings.traces, settings.metrics, settings.logs),
        (Exporter::None, Exporter::Console, Exporter::Otlp)
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
    let timeouts =
        [&otlp.traces, &otlp.metrics, &otlp.logs].map(|signal| signal.timeout.as_millis());
    assert_eq!(
        timeouts,
        [3000, 1500, 700],
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
        [otlp.traces, otlp.metrics, otlp.logs].map(|signal| signal.endpoint.to_string())
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
    let otlp = good(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=7"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            " authorization = ApiKey%20secret ,empty=,no pair,x-b=%zz, bad name=1",
        ),
    ])
    .otlp;
    assert_eq!(otlp.traces.headers.len(), 2);
    assert_eq!(otlp.traces.headers["authorization"], "ApiKey secret");
    assert_eq!(otlp.traces.headers["x-b"], "%zz");
    assert_eq!(otlp.logs.headers["x-tenant"], "7");
    assert!(!format!("{otlp:?}").contains("secret"));
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
        (Some(20), Some(10), Some(5))
    );
    assert_eq!(limits.value_length, Some(100));
    assert_eq!(
        good(&[
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "7"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100")
        ])
        .limits
        .value_length,
        Some(7)
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
fn a_value_that_cannot_be_followed_is_refused_unless_the_sdk_is_off() {
    let bad = [
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_LOGS_EXPORTER", "otlp,console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "not an address"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "deltas",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "exponential",
        ),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "10%"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "-1"),
    ];
    for (variable, value) in bad {
        let error = read(&[(variable, value)]).expect_err(variable).to_string();
        assert!(
            error.starts_with(&format!("{variable} is `{value}`; it takes ")),
            "{error}"
        );
        assert!(good(&[(variable, value), ("OTEL_SDK_DISABLED", "true")]).disabled);
    }
    let always = read(&[("OTEL_PROPAGATORS", "b3"), ("OTEL_SDK_DISABLED", "true")]);
    assert!(
        always.is_err(),
        "propagation works without the SDK, so its setting must be readable"
    );
}
