//! Checks the variables that the SDK reads by itself: it would silently replace a wrong value by a
//! default.

use super::{Get, SettingsError, number, refuse};

pub(super) const HISTOGRAM: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
pub(super) const EXPONENTIAL: &str = "base2_exponential_bucket_histogram";

/// Variable, the words that it takes, and how the error message lists them.
const WORDS: [(&str, &[&str], &str); 7] = [
    (
        "OTEL_TRACES_SAMPLER",
        &[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ],
        "always_on, always_off, traceidratio, or one of them after parentbased_",
    ),
    (
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        COMPRESSIONS,
        "gzip or none",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        COMPRESSIONS,
        "gzip or none",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        COMPRESSIONS,
        "gzip or none",
    ),
    (
        "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
        COMPRESSIONS,
        "gzip or none",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        &["cumulative", "delta", "lowmemory"],
        "cumulative, delta or lowmemory",
    ),
    (
        HISTOGRAM,
        &["explicit_bucket_histogram", EXPONENTIAL],
        "explicit_bucket_histogram or base2_exponential_bucket_histogram",
    ),
];
const COMPRESSIONS: &[&str] = &["gzip", "none"];

const NUMBERS: [&str; 9] = [
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
];

pub(super) fn check(get: &Get<'_>) -> Result<(), SettingsError> {
    for (variable, words, takes) in WORDS {
        if let Some(value) = get(variable).filter(|value| !words.contains(&value.as_str())) {
            return Err(refuse(variable, &value, takes));
        }
    }
    for variable in NUMBERS {
        number::<u64>(variable, get)?;
    }
    match get("OTEL_TRACES_SAMPLER_ARG") {
        Some(ratio)
            if !ratio
                .parse::<f64>()
                .is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)) =>
        {
            Err(refuse(
                "OTEL_TRACES_SAMPLER_ARG",
                &ratio,
                "a ratio between 0 and 1",
            ))
        }
        _ => Ok(()),
    }
}
