//! A failure on purpose leaves an error trace, with the stack of the error.

use std::time::Instant;

use explorer::Trace;
use explorer::trace::SpanData;
use http::StatusCode;
use serde_json::Value;
use telemetry::attr;

use super::Checklist;
use super::gateway::{Answer, Ask};
use super::place::{LogQuery, Signal};
use super::report::Row;
use super::system::shape_faults;
use super::wait::{Look, until};

/// Fails at the part that is farthest from the gateway, so that the error crosses all of them.
const FAULT: &str = "feature-store:error";
const TRACE: &str = "failure.trace";
const STACK: &str = "failure.stack";

/// A failure that was provoked.
struct Failure {
    how: &'static str,
    status: StatusCode,
    trace_id: String,
}

impl Checklist {
    pub(super) async fn failure_leaves_its_trace(&mut self) {
        let failure = match self.provoke().await {
            Ok(failure) => failure,
            Err(why) => {
                self.report.add(Row::skipped(TRACE, why.clone()));
                self.report.add(Row::skipped(STACK, why));
                return;
            }
        };
        let deadline = Instant::now() + self.args.timeout;
        let row = self.error_trace(&failure, deadline).await;
        self.report.add(row.with_trace(&failure.trace_id));
        let row = self.stack(&failure, deadline).await;
        self.report.add(row.with_trace(&failure.trace_id));
    }

    /// By a fault if the deployment allows faults, else by a time limit that no model can keep. Both
    /// break only the request itself.
    async fn provoke(&mut self) -> Result<Failure, String> {
        let wine = self.wine();
        let ask = Ask {
            fault: Some(FAULT),
            compute: true,
            ..Ask::default()
        };
        let by_fault = self.gateway.predict(&wine, ask).await;
        if let Some(failure) = failed("a fault in the feature store", by_fault)? {
            return Ok(failure);
        }
        let too_slow = self.gateway.infer_in_no_time(&wine).await;
        let failure = failed("an inference with a limit of 1 µs", too_slow)?;
        failure.ok_or_else(|| {
            "the gateway answered each failure on purpose; start the parts with --allow-faults"
                .to_owned()
        })
    }

    async fn error_trace(&self, failure: &Failure, deadline: Instant) -> Row {
        let place = &self.place;
        let found = until(deadline, async || {
            let Some(trace) = place.trace(&failure.trace_id).await? else {
                return Ok(Look::Missing("the trace has not arrived".to_owned()));
            };
            let mut problems = shape_faults(&trace);
            let Some(span) = deepest_error(&trace) else {
                return Ok(Look::Missing("no span has the status ERROR".to_owned()));
            };
            if span.text(attr::ERROR_TYPE).is_none() {
                problems.push(format!("{} has no {}", span.name, attr::ERROR_TYPE));
            }
            Ok(if problems.is_empty() {
                Look::Found((span.name.clone(), span.service.clone()))
            } else {
                Look::Missing(problems.join("; "))
            })
        })
        .await;
        let how = format!("{}, answered {}", failure.how, failure.status.as_u16());
        match found {
            Ok((name, service)) => {
                Row::passed(TRACE, format!("{how}: the error is on {name} of {service}"))
            }
            Err(missing) => Row::failed(
                TRACE,
                format!("{how}: {missing}"),
                "A sampler must keep errors: OTEL_TRACES_SAMPLER=parentbased_always_on, or a tail sampling policy on the status.",
            ),
        }
    }

    /// The stack is on a log record of the trace; the Python worker also has it on an event.
    async fn stack(&self, failure: &Failure, deadline: Instant) -> Row {
        if let Some(why) = self.place.gap(Signal::Logs) {
            return Row::skipped(STACK, format!("{why}, and the stack is on one"));
        }
        let query = LogQuery {
            trace_id: Some(&failure.trace_id),
            attribute: Some(attr::EXCEPTION_STACKTRACE),
            ..LogQuery::default()
        };
        let place = &self.place;
        let found = until(deadline, async || {
            let records = place.logs(&query).await?;
            let Some(record) = records.into_iter().last() else {
                let missing = "no log record with exception.stacktrace in the trace";
                return Ok(Look::Missing(missing.to_owned()));
            };
            let text = |name: &str| {
                record
                    .attributes
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            Ok(Look::Found(format!(
                "{} of {}, {} lines",
                text(attr::EXCEPTION_TYPE),
                record.service,
                text(attr::EXCEPTION_STACKTRACE).lines().count()
            )))
        })
        .await;
        match found {
            Ok(detail) => Row::passed(STACK, detail),
            Err(missing) => Row::failed(
                STACK,
                missing,
                "Log records must be exported too, and RUST_LOG must not hide errors.",
            ),
        }
    }
}

/// `None` if the request was answered, as one whose fault is ignored.
fn failed(how: &'static str, answer: anyhow::Result<Answer>) -> Result<Option<Failure>, String> {
    let answer = answer.map_err(|error| format!("{error:#}"))?;
    if !answer.status.is_server_error() {
        return Ok(None);
    }
    let trace_id = answer.trace_id.ok_or("the answer has no traceresponse")?;
    Ok(Some(Failure {
        how,
        status: answer.status,
        trace_id,
    }))
}

/// The failed span that is farthest from the root: where the error began.
fn deepest_error(trace: &Trace) -> Option<&SpanData> {
    let errors = trace.spans.iter().filter(|span| span.is_error());
    errors.max_by_key(|span| span.depth)
}
