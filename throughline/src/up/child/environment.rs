//! The variables of this process that a child inherits: all but those that only other parts use,
//! which may have secrets in them.

use std::process::Command;

/// Variables, or beginnings of names that end with `_`, with the children that use them. Everything
/// else (`PATH`, `OTEL_…`, `THROUGHLINE_…`) is for all.
const OWNERS: [(&str, &[&str]); 12] = [
    // It is for clients of the gateway.
    ("THROUGHLINE_API_KEY", &[]),
    ("ELASTICSEARCH_", &["gateway"]),
    ("PREDICTION_", &["gateway"]),
    ("GATEWAY_", &["gateway"]),
    (
        "FEATURE_STORE_URL",
        &["model-service", "model-service-python"],
    ),
    ("FEATURE_STORE_", &["feature-store"]),
    ("REDIS_", &["feature-store"]),
    (
        "MODEL_SERVICE_",
        &[
            "model-service",
            "model-service-python",
            "model-service-encoder",
        ],
    ),
    (
        "MODEL_REPOSITORY",
        &[
            "model-service",
            "model-service-python",
            "train",
            "model-training",
        ],
    ),
    ("EXPLORER_", &["explorer"]),
    // Each part has its own name.
    ("OTEL_SERVICE_NAME", &[]),
    // Credentials of the collector. The explorer sends nothing.
    (
        "OTEL_EXPORTER_",
        &[
            "gateway",
            "model-service",
            "model-service-python",
            "model-service-encoder",
            "feature-store",
            "train",
            "model-training",
        ],
    ),
];

/// Removes the variables that the child `name` does not use.
pub(crate) fn remove_foreign(command: &mut Command, name: &str) {
    for (variable, _) in std::env::vars_os() {
        if variable
            .to_str()
            .is_some_and(|variable| !uses(name, variable))
        {
            command.env_remove(variable);
        }
    }
}

fn uses(child: &str, variable: &str) -> bool {
    let owners = OWNERS.iter().find(|(owned, _)| {
        *owned == variable || (owned.ends_with('_') && variable.starts_with(owned))
    });
    owners.is_none_or(|(_, children)| children.contains(&child))
}

#[cfg(test)]
mod tests {
    //! Who gets which secret.

    use super::uses;

    const CHILDREN: [&str; 7] = [
        "gateway",
        "model-service",
        "model-service-python",
        "feature-store",
        "explorer",
        "train",
        "model-training",
    ];

    fn users(variable: &str) -> Vec<&'static str> {
        let children = CHILDREN.into_iter();
        children.filter(|child| uses(child, variable)).collect()
    }

    #[test]
    fn a_secret_goes_to_the_part_that_uses_it() {
        for variable in [
            "ELASTICSEARCH_PASSWORD",
            "ELASTICSEARCH_API_KEY",
            "ELASTICSEARCH_URL",
            "PREDICTION_STORE",
            "GATEWAY_MODEL_SERVICE",
        ] {
            assert_eq!(users(variable), ["gateway"], "{variable}");
        }
        assert_eq!(users("FEATURE_STORE_DATABASE"), ["feature-store"]);
        assert_eq!(
            users("FEATURE_STORE_URL"),
            ["model-service", "model-service-python"]
        );
        assert!(!uses("explorer", "OTEL_EXPORTER_OTLP_HEADERS"));
        assert!(uses("gateway", "OTEL_EXPORTER_OTLP_HEADERS"));
        assert_eq!(users("OTEL_SERVICE_NAME"), Vec::<&str>::new());
        for variable in [
            "PATH",
            "OTEL_TRACES_SAMPLER",
            "THROUGHLINE_MAX_IN_FLIGHT",
            "RUST_LOG",
        ] {
            assert_eq!(users(variable), CHILDREN, "{variable}");
        }
    }
}
