//! Traces, metrics and log records arrive from each service.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Checklist;
use super::place::{LogQuery, Place, ServiceMetrics, Signal};
use super::report::Row;
use super::system::services;
use super::wait::{Look, until};

/// A data point that is older was not followed by the next export, which is due every minute.
const STALE: Duration = Duration::from_mins(3);
const EXPORT: &str = "Look for telemetry.export_failed in its output, and compare its OTEL_EXPORTER_OTLP_* variables with those of a part that arrives.";
/// A metric that every service has, and those of a service with a model.
const REQUESTS: &str = "http.server.request.duration";
const INFERENCE: [&str; 2] = ["ai.inference.calls", "ai.inference.latency"];

impl Checklist {
    pub(super) async fn signals_arrive(&mut self) {
        let deadline = Instant::now() + self.args.timeout;
        let services = services(&self.samples);
        for service in &services {
            let row = self.traces_of(service).await;
            self.report.add(row.of(service));
        }
        for service in &services {
            let row = self.metrics_of(service, deadline).await;
            self.report.add(row.of(service));
        }
        for service in &services {
            let row = self.logs_of(service, deadline).await;
            self.report.add(row.of(service));
        }
    }

    async fn traces_of(&self, service: &str) -> Row {
        const CHECK: &str = "traces.arrive";
        let traces = self
            .samples
            .iter()
            .filter_map(|sample| sample.trace.as_ref());
        let spans = traces.flat_map(|trace| &trace.spans);
        let spans = spans.filter(|span| span.service == service).count();
        if spans > 0 {
            return Row::passed(CHECK, format!("{spans} spans in the traces above"));
        }
        match self.place.recent(service).await {
            Ok(traces) if traces.is_empty() => {
                Row::failed(CHECK, format!("{} has no span of it", self.place), EXPORT)
            }
            Ok(traces) => Row::passed(CHECK, format!("in {} other traces", traces.len())),
            Err(error) => Row::failed(CHECK, format!("{error:#}"), EXPORT),
        }
    }

    async fn metrics_of(&self, service: &str, deadline: Instant) -> Row {
        const CHECK: &str = "metrics.arrive";
        if let Some(why) = self.place.gap(Signal::Metrics) {
            return Row::skipped(CHECK, why);
        }
        let has_model = self.samples.iter().any(|sample| {
            let trace = sample.trace.iter();
            let mut spans = trace.flat_map(|trace| &trace.spans);
            spans.any(|span| span.service == service && span.name.starts_with("predict "))
        });
        let place = &self.place;
        let found = until(deadline, async || {
            let metrics = place.metrics(service).await?;
            Ok(judge_metrics(&metrics, has_model))
        })
        .await;
        match found {
            Ok(detail) => Row::passed(CHECK, detail),
            Err(missing) => Row::failed(
                CHECK,
                missing,
                format!(
                    "{EXPORT} OTEL_METRICS_EXPORTER must not be none; a longer OTEL_METRIC_EXPORT_INTERVAL needs a longer --timeout."
                ),
            ),
        }
    }

    async fn logs_of(&self, service: &str, deadline: Instant) -> Row {
        const CHECK: &str = "logs.arrive";
        if let Some(why) = self.place.gap(Signal::Logs) {
            return Row::skipped(CHECK, why);
        }
        let found = until(deadline, async || newest_log(&self.place, service).await).await;
        match found {
            Ok(detail) => Row::passed(CHECK, detail),
            Err(missing) => Row::failed(
                CHECK,
                missing,
                format!("{EXPORT} OTEL_LOGS_EXPORTER must not be none, nor RUST_LOG=off."),
            ),
        }
    }
}

fn judge_metrics(metrics: &ServiceMetrics, has_model: bool) -> Look<String> {
    let wanted = [REQUESTS]
        .into_iter()
        .chain(INFERENCE.into_iter().filter(|_| has_model));
    let missing: Vec<&str> = wanted
        .filter(|name| !metrics.names.contains(*name))
        .collect();
    if !missing.is_empty() {
        return Look::Missing(format!(
            "{} metrics, without {}",
            metrics.names.len(),
            missing.join(", ")
        ));
    }
    let age = age(metrics.newest);
    let detail = format!(
        "{} metrics, the newest {} ago",
        metrics.names.len(),
        seconds(age)
    );
    if age > STALE {
        return Look::Missing(detail);
    }
    Look::Found(detail)
}

/// Any record will do, however old: a service that has nothing to report logs at its start only.
async fn newest_log(place: &Place, service: &str) -> anyhow::Result<Look<String>> {
    let query = LogQuery {
        service: Some(service),
        ..LogQuery::default()
    };
    let records = place.logs(&query).await?;
    let Some(newest) = records.first() else {
        return Ok(Look::Missing(format!("{place} has no log record of it")));
    };
    let age = seconds(age(newest.time));
    Ok(Look::Found(format!(
        "the newest, {}, {age} ago",
        newest.event_name
    )))
}

/// How long ago, by the clock of this machine.
fn age(time: u64) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(time))
}

fn seconds(age: Duration) -> String {
    format!("{} s", age.as_secs())
}
