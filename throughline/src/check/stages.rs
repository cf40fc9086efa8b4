//! The 95th percentile of each stage of the trainings and predictions that the place has.

use std::collections::BTreeMap;

use explorer::Trace;

use super::Checklist;
use super::fields::{NO_TRAINING, TRAINING_SERVICE};
use super::percentile::nearest_rank;
use super::report::Row;
use super::system::services;

const CHECK: &str = "stage.p95";
const OF_A_TRAINING: [&str; 4] = ["load_data", "train_model", "evaluate_model", "save_model"];
const OF_A_PREDICTION: [&str; 4] = [
    "predict",
    "preprocess_input",
    "model_inference",
    "postprocess_output",
];

impl Checklist {
    pub(super) async fn stages_have_durations(&mut self) {
        match self.place.recent(TRAINING_SERVICE).await {
            Ok(traces) if traces.is_empty() => {
                let why = format!("{} {NO_TRAINING}", self.place);
                self.report.add(Row::skipped(CHECK, why).of("training"));
            }
            Ok(traces) => self.add_stages(TRAINING_SERVICE, &traces, &OF_A_TRAINING),
            Err(error) => self.cannot_read(&error),
        }
        for service in services(&self.samples) {
            // Only a service with a model has the stages; others are asked in vain.
            if !self.predicts(&service) {
                continue;
            }
            match self.place.recent(&service).await {
                Ok(traces) => self.add_stages(&service, &traces, &OF_A_PREDICTION),
                Err(error) => self.cannot_read(&error),
            }
        }
    }

    fn predicts(&self, service: &str) -> bool {
        let traces = self
            .samples
            .iter()
            .filter_map(|sample| sample.trace.as_ref());
        let mut spans = traces.flat_map(|trace| &trace.spans);
        spans.any(|span| span.service == service && stage(&span.name) == "predict")
    }

    fn add_stages(&mut self, service: &str, traces: &[Trace], stages: &[&str]) {
        let mut durations = durations(service, traces);
        for name in stages {
            let mut values = durations.remove(name).unwrap_or_default();
            let row = match nearest_rank(&mut values, 95) {
                Some(p95) => Row::passed(
                    CHECK,
                    format!("{:.3} ms (n = {})", p95 as f64 / 1e6, values.len()),
                ),
                None => Row::failed(
                    CHECK,
                    format!("no such span in {} traces", traces.len()),
                    "The service may be of an older version than this program: compare with docs/telemetry.md.",
                ),
            };
            self.report.add(row.of(format!("{name} of {service}")));
        }
    }

    fn cannot_read(&mut self, error: &anyhow::Error) {
        let remedy = "See the log of the place where the telemetry goes.";
        self.report
            .add(Row::failed(CHECK, format!("{error:#}"), remedy));
    }
}

/// The nanoseconds of each stage of one service.
fn durations<'a>(service: &str, traces: &'a [Trace]) -> BTreeMap<&'a str, Vec<u64>> {
    let mut durations: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let spans = traces.iter().flat_map(|trace| &trace.spans);
    for span in spans.filter(|span| span.service == service) {
        let values = durations.entry(stage(&span.name)).or_default();
        values.push(span.duration());
    }
    durations
}

/// `predict wine_quality` is the stage `predict`.
fn stage(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}
