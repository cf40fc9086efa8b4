//! One span as the map and the models see it.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};

use super::names::{Name, Names};
use crate::store::{Source, SpanId, TraceId};

/// The facts of one span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub trace: TraceId,
    pub span: SpanId,
    /// All zero without a parent.
    pub parent: SpanId,
    /// When it arrived here, since the clocks of the senders may be wrong.
    pub arrived: u64,
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
    pub kind: SpanKind,
    pub error: bool,
    pub service: Name,
    pub name: Name,
    pub peer: Peer,
    pub model: Name,
    pub variant: Name,
    pub version: Name,
    pub run: Name,
    pub label: Name,
    /// `ml.framework`.
    pub framework: Name,
    /// `ml.output.confidence`; NaN if it has none.
    pub confidence: f32,
    /// `ml.batch_size`; 1 if it has none.
    pub rows: u32,
}

/// What a CLIENT span calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// `db.system.name`.
    pub database: Name,
    /// `server.address`, with the port.
    pub address: Name,
}

impl Fact {
    pub(super) fn of(
        names: &mut Names,
        source: &Source,
        trace: TraceId,
        span: &Span,
        now: u64,
    ) -> Fact {
        let mut fact = Fact {
            trace,
            span: id(&span.span_id),
            parent: id(&span.parent_span_id),
            arrived: now,
            start: span.start_time_unix_nano,
            duration: span
                .end_time_unix_nano
                .saturating_sub(span.start_time_unix_nano),
            kind: span.kind(),
            error: span
                .status
                .as_ref()
                .is_some_and(|status| status.code() == StatusCode::Error),
            service: names.intern(&source.service),
            name: names.intern(&span.name),
            peer: Peer::default(),
            model: Name::NONE,
            variant: Name::NONE,
            version: Name::NONE,
            run: Name::NONE,
            label: Name::NONE,
            framework: Name::NONE,
            confidence: f32::NAN,
            rows: 1,
        };
        fact.take_attributes(names, &span.attributes);
        fact
    }

    fn take_attributes(&mut self, names: &mut Names, attributes: &[KeyValue]) {
        let (mut host, mut port) = ("", None);
        for attribute in attributes {
            let Some(value) = &attribute.value else {
                continue;
            };
            match attribute.key.as_str() {
                "ml.model_name" => self.model = name(names, value),
                "ml.model_version" => self.version = name(names, value),
                "ml.variant" => self.variant = name(names, value),
                "ml.run_id" => self.run = name(names, value),
                "ml.framework" => self.framework = name(names, value),
                "ml.output.label" => self.label = name(names, value),
                "ml.output.confidence" => {
                    self.confidence = number(value).map_or(f32::NAN, |number| number as f32);
                }
                "ml.batch_size" => {
                    let rows = number(value).unwrap_or(1.0);
                    self.rows = rows.clamp(0.0, 1e6) as u32;
                }
                "db.system.name" => self.peer.database = name(names, value),
                "server.address" => host = text(value).unwrap_or_default(),
                "server.port" => port = number(value),
                _ => {}
            }
        }
        // Only a CLIENT span says with it what it calls; a SERVER span says what it is.
        if self.kind == SpanKind::Client && !host.is_empty() {
            let address = match port {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            };
            self.peer.address = names.intern(&address);
        }
    }

    /// Whether it is the computation of a prediction.
    pub(crate) fn is_prediction(&self, names: &Names) -> bool {
        self.kind == SpanKind::Internal
            && !self.model.is_none()
            && names.text(self.name).strip_prefix("predict ") == Some(names.text(self.model))
    }

    pub(super) fn each_name(&mut self, rename: &mut impl FnMut(&mut Name)) {
        for name in [
            &mut self.service,
            &mut self.name,
            &mut self.peer.database,
            &mut self.peer.address,
            &mut self.model,
            &mut self.variant,
            &mut self.version,
            &mut self.run,
            &mut self.label,
            &mut self.framework,
        ] {
            rename(name);
        }
    }
}

fn id(bytes: &[u8]) -> SpanId {
    bytes.try_into().unwrap_or_default()
}

pub(super) fn name(names: &mut Names, value: &AnyValue) -> Name {
    text(value).map_or(Name::NONE, |text| names.intern(text))
}

fn text(value: &AnyValue) -> Option<&str> {
    match value.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A finite number.
pub(super) fn number(value: &AnyValue) -> Option<f64> {
    let number = match value.value.as_ref()? {
        Any::IntValue(number) => *number as f64,
        Any::DoubleValue(number) => *number,
        _ => return None,
    };
    number.is_finite().then_some(number)
}
