//! Log records on stdout and in OTLP, each with the ids of the span that it belongs to.
//!
//! On a terminal a record is a readable line, elsewhere one JSON object. Both take trace and span
//! id from the OpenTelemetry context, as the OTLP bridge does, since spans are not `tracing` spans
//! here.

use std::fmt;
use std::io::{self, IsTerminal};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::error::Error;
use crate::settings::Settings;
use crate::span_ref::SpanRef;

/// Log records of the SDK and of the HTTP libraries, which exporting would only multiply.
const INTERNALS: [&str; 6] = ["opentelemetry", "hyper", "reqwest", "h2", "rustls", "tower"];

/// Installs the subscriber of this process.
pub(crate) fn init(settings: &Settings, logger: Option<&SdkLoggerProvider>) -> Result<(), Error> {
    let filter = EnvFilter::try_new(directives(settings))?;
    let shows_sdk = settings.sdk_log_level.is_some();
    let stdout = tracing_subscriber::fmt::layer()
        .event_format(LineFormat {
            service: settings.service_name.clone(),
            json: !io::stdout().is_terminal(),
        })
        .with_filter(filter_fn(move |metadata| {
            // What exports and queues lose is logged by `export/counts.rs`.
            shows_sdk || !metadata.target().starts_with("opentelemetry")
        }));
    let bridge = logger.map(|provider| {
        OpenTelemetryTracingBridge::new(provider).with_filter(filter_fn(is_exported))
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(stdout)
        .with(bridge)
        .try_init()
        .map_err(|_| Error::Twice)
}

/// Whether a record leaves as telemetry.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    !INTERNALS
        .iter()
        .any(|target| metadata.target().starts_with(target))
}

/// The directives of the filter. A later one for the same target wins, so `RUST_LOG` can still ask
/// for `hyper=debug`.
fn directives(settings: &Settings) -> String {
    let quiet = INTERNALS
        .iter()
        .skip(1)
        .map(|target| format!("{target}=warn"));
    let sdk = settings
        .sdk_log_level
        .iter()
        .map(|level| format!("opentelemetry={level}"));
    let all: Vec<_> = quiet
        .chain(sdk)
        .chain([settings.log_filter.clone()])
        .collect();
    all.join(",")
}

/// Writes one event as one line.
struct LineFormat {
    service: String,
    json: bool,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let ids = SpanRef::of(&opentelemetry::Context::current());
        if self.json {
            writeln!(
                out,
                "{}",
                Value::Object(self.object(event.metadata(), fields, ids))
            )
        } else {
            write_readable(&mut out, event.metadata(), &fields, ids)
        }
    }
}

impl LineFormat {
    fn object(
        &self,
        metadata: &Metadata<'_>,
        fields: EventFields,
        ids: Option<SpanRef>,
    ) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), json!(now()));
        line.insert("level".to_owned(), json!(metadata.level().as_str()));
        line.insert("service.name".to_owned(), json!(self.service));
        line.insert("event.name".to_owned(), json!(metadata.name()));
        line.insert("message".to_owned(), json!(fields.message));
        if let Some(ids) = ids {
            line.insert("trace_id".to_owned(), json!(ids.trace_id.to_string()));
            line.insert("span_id".to_owned(), json!(ids.span_id.to_string()));
        }
        line.extend(fields.rest);
        line
    }
}

fn write_readable(
    out: &mut Writer<'_>,
    metadata: &Metadata<'_>,
    fields: &EventFields,
    ids: Option<SpanRef>,
) -> fmt::Result {
    let colour = match *metadata.level() {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        _ => "90",
    };
    let level = metadata.level().as_str();
    if out.has_ansi_escapes() {
        write!(
            out,
            "\x1b[90m{}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m {}",
            now(),
            fields.message
        )?;
    } else {
        write!(out, "{} {level:>5} {}", now(), fields.message)?;
    }
    for (key, value) in &fields.rest {
        // A stack trace is unreadable on one line; the JSON form and OTLP have it.
        if key != "exception.stacktrace" {
            write!(
                out,
                " {key}={}",
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            )?;
        }
    }
    match ids {
        Some(ids) => writeln!(out, " trace_id={}", ids.trace_id),
        None => writeln!(out),
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

/// The fields of an event as JSON values, without the message.
#[derive(Default)]
struct EventFields {
    message: String,
    rest: Map<String, Value>,
}

impl EventFields {
    fn insert(&mut self, field: &Field, value: Value) {
        self.rest.insert(field.name().to_owned(), value);
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.insert(field, json!(format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, json!(value));
    }
}
