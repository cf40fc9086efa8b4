//! The resource: what every span, metric and log record says about the process that made it.

use std::sync::{LazyLock, OnceLock};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_semantic_conventions::attribute as semconv;

use crate::settings::Settings;

/// The commit that the program was built from, if the build knew it.
static BUILT_FROM: OnceLock<&'static str> = OnceLock::new();
/// The commit that a container image was built from: its layers are compiled without the
/// repository, and a commit that changes no source leaves them as they are.
static OF_IMAGE: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("THROUGHLINE_REVISION").ok());

/// Sets the commit that the program was built from, for `vcs.ref.head.revision`; call it before
/// `init`.
pub fn set_revision(revision: &'static str) {
    // A second call in one process would repeat the revision of the same build.
    let _ = BUILT_FROM.set(revision);
}

/// The commit of this program: `THROUGHLINE_REVISION`, else what was given to [`set_revision`].
pub fn revision() -> Option<&'static str> {
    let of_image = OF_IMAGE.as_deref().filter(|revision| !revision.is_empty());
    of_image.or_else(|| BUILT_FROM.get().copied())
}

/// Our defaults first, then `OTEL_RESOURCE_ATTRIBUTES`, then `OTEL_SERVICE_NAME`: a later one wins.
pub(crate) fn resource(settings: &Settings) -> Resource {
    let mut defaults = vec![
        KeyValue::new(semconv::SERVICE_NAME, settings.service_name.clone()),
        KeyValue::new(semconv::SERVICE_NAMESPACE, "throughline"),
        KeyValue::new(semconv::SERVICE_VERSION, settings.service_version),
        KeyValue::new(
            semconv::SERVICE_INSTANCE_ID,
            uuid::Uuid::new_v4().to_string(),
        ),
        KeyValue::new(semconv::DEPLOYMENT_ENVIRONMENT_NAME, "development"),
        KeyValue::new(semconv::PROCESS_PID, i64::from(std::process::id())),
    ];
    if let Some(revision) = revision() {
        defaults.push(KeyValue::new(semconv::VCS_REF_HEAD_REVISION, revision));
    }
    let from_variable = settings
        .resource_attributes
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes(defaults)
        .with_detectors(&[Box::new(TelemetryResourceDetector)])
        .with_attributes(from_variable)
        // The settings know whether `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` named the
        // service.
        .with_service_name(settings.service_name.clone())
        .build()
}
