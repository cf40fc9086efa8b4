//! The fields of the model and of its training run are on spans and on log records.

use explorer::trace::AttributeMap;
use telemetry::attr;

use super::Checklist;
use super::place::{LogQuery, LogRecord, Signal};
use super::report::Row;
use super::system::{Sample, predict_span};

/// On the span of every prediction of one entity.
const PREDICTION: [&str; 9] = [
    attr::ML_MODEL_NAME,
    attr::ML_MODEL_VERSION,
    attr::ML_RUN_ID,
    attr::ML_VARIANT,
    attr::ML_BATCH_SIZE,
    attr::ML_FRAMEWORK,
    attr::ML_DATA_ID,
    attr::ML_OUTPUT_LABEL,
    attr::ML_OUTPUT_CONFIDENCE,
];
/// On the record `model.loaded`.
const LOADED: [&str; 3] = [attr::ML_MODEL_NAME, attr::ML_MODEL_VERSION, attr::ML_RUN_ID];
/// On the span and on the record of a training.
const TRAINING: [&str; 7] = [
    attr::ML_MODEL_NAME,
    attr::ML_MODEL_VERSION,
    attr::ML_RUN_ID,
    attr::ML_DATASET,
    attr::ML_LEARNING_RATE,
    attr::ML_TRAINING_ACCURACY,
    attr::ML_VALIDATION_ACCURACY,
];
/// The service of a training, and the start of the name of its span.
pub(super) const TRAINING_SERVICE: &str = "model-training";
const TRAINING_SPAN: &str = "train ";
/// What to do if a part does not set a field.
const VERSION: &str = "The part that emits it may be of an older version than this program: compare with docs/telemetry.md.";
/// Why there may be nothing of a training.
pub(super) const NO_TRAINING: &str = "has no training: run `throughline train wine_quality` with the OTEL_EXPORTER_OTLP_ENDPOINT of the deployment";

impl Checklist {
    pub(super) async fn fields_are_there(&mut self) {
        let samples = self.samples.iter();
        let mut rows: Vec<Row> = samples.filter_map(prediction_span).collect();
        rows.push(self.loaded_record().await);
        rows.push(self.training_span().await);
        rows.push(self.training_record().await);
        for row in rows {
            self.report.add(row);
        }
    }

    /// The run and the version of a model on log records.
    async fn loaded_record(&self) -> Row {
        let absent = "has no record model.loaded: a model service writes it when it starts, so it may have been evicted";
        self.record("fields.model_log", "model.loaded", &LOADED, absent)
            .await
    }

    async fn training_record(&self) -> Row {
        let (check, event) = ("fields.training_log", "ml.training.metrics");
        self.record(check, event, &TRAINING, NO_TRAINING).await
    }

    /// The newest record of an event has all fields.
    async fn record(
        &self,
        check: &'static str,
        event: &str,
        fields: &[&'static str],
        absent: &str,
    ) -> Row {
        if let Some(why) = self.place.gap(Signal::Logs) {
            return Row::skipped(check, why);
        }
        let query = LogQuery {
            attribute: Some(attr::ML_RUN_ID),
            ..LogQuery::default()
        };
        let records = match self.place.logs(&query).await {
            Ok(records) => records,
            Err(error) => return Row::failed(check, format!("{error:#}"), VERSION),
        };
        let of_event = |record: &&LogRecord| record.event_name == event;
        match records.iter().find(of_event) {
            None => Row::skipped(check, format!("{} {absent}", self.place)),
            Some(record) => compare(check, &record.attributes, fields)
                .of(format!("{event} of {}", record.service)),
        }
    }

    async fn training_span(&self) -> Row {
        const CHECK: &str = "fields.training_span";
        let traces = match self.place.recent(TRAINING_SERVICE).await {
            Ok(traces) => traces,
            Err(error) => return Row::failed(CHECK, format!("{error:#}"), VERSION),
        };
        let mut spans = traces.iter().flat_map(|trace| &trace.spans);
        match spans.find(|span| span.name.starts_with(TRAINING_SPAN)) {
            None => Row::skipped(CHECK, format!("{} {NO_TRAINING}", self.place)),
            Some(span) => compare(CHECK, &span.attributes, &TRAINING).of(&span.name),
        }
    }
}

/// The span of a sample has all fields, and the run that its answer names.
fn prediction_span(sample: &Sample) -> Option<Row> {
    const CHECK: &str = "fields.prediction";
    let span = sample.trace.as_ref()?.span(&predict_span())?;
    let subject = format!("{} of {}", span.name, span.service);
    let run_id = span.text(attr::ML_RUN_ID).unwrap_or_default();
    let row = if run_id == sample.run_id {
        compare(CHECK, &span.attributes, &PREDICTION)
    } else {
        let detail = format!(
            "{} is {run_id:?}, the answer has {:?}",
            attr::ML_RUN_ID,
            sample.run_id
        );
        Row::failed(CHECK, detail, VERSION)
    };
    Some(row.of(subject).with_trace(&sample.trace_id))
}

fn compare(check: &'static str, attributes: &AttributeMap, fields: &[&str]) -> Row {
    let missing: Vec<&str> = fields
        .iter()
        .copied()
        .filter(|field| attributes.get(*field).is_none_or(|value| value == ""))
        .collect();
    if missing.is_empty() {
        return Row::passed(check, fields.join(", "));
    }
    Row::failed(check, format!("without {}", missing.join(", ")), VERSION)
}
