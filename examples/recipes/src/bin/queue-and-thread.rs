//! Trace context through a queue and through a thread: docs/recipes/queue-and-thread.md.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use opentelemetry::{Context, global};
use serde::{Deserialize, Serialize};
use telemetry::span::with_context;
use telemetry::{KeyValue, Settings, Span, SpanRef};

/// What is in the queue: bytes, as in Kafka, SQS or Redis. The context is text beside the content.
#[derive(Deserialize, Serialize)]
struct Message {
    headers: HashMap<String, String>,
    order: u32,
}

#[expect(clippy::print_stdout, reason = "what it was started for")]
fn main() -> Result<()> {
    let guard = telemetry::init(&Settings::from_env(
        "queue-and-thread",
        env!("CARGO_PKG_VERSION"),
    ))?;
    let (queue, messages) = channel();
    let worker = thread::spawn(move || work_off(&messages));
    let trace_id = order(&queue);
    drop(queue);
    let outcome = worker.join().expect("the worker does not panic");
    guard.shutdown(Duration::from_secs(2));
    println!("{trace_id}");
    outcome
}

/// Puts three messages into the queue, and calculates on another thread.
fn order(queue: &Sender<String>) -> String {
    let span = Span::start("order", Vec::new());
    span.in_scope(|| {
        for order in 1..=3 {
            let _ = queue.send(pack(order));
        }
        let sum = calculate_elsewhere();
        span.set("order.sum", i64::from(sum));
    });
    span.span_ref()
        .map(|span| span.trace_id.to_string())
        .unwrap_or_default()
}

/// The sender injects the current context into the headers of the message.
fn pack(order: u32) -> String {
    let send = Span::start(
        "send orders",
        vec![KeyValue::new("order.id", i64::from(order))],
    );
    let mut headers = HashMap::new();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&send.context(), &mut headers);
    });
    serde_json::to_string(&Message { headers, order }).expect("a message is text")
}

/// The receiver of single messages continues the trace of each. The receiver of a batch cannot be in
/// three traces at once: it has a span of its own, linked to every message.
fn work_off(messages: &Receiver<String>) -> Result<()> {
    let mut batch = Vec::new();
    for bytes in messages {
        let message: Message = serde_json::from_str(&bytes)?;
        let sender =
            global::get_text_map_propagator(|propagator| propagator.extract(&message.headers));
        with_context(&sender, || {
            let span = Span::start(
                "process order",
                vec![KeyValue::new("order.id", i64::from(message.order))],
            );
            span.in_scope(|| tracing::info!(name: "order.processed", "an order was processed"));
        });
        batch.extend(
            message
                .headers
                .get("traceparent")
                .and_then(|value| SpanRef::from_traceparent(value)),
        );
    }
    drop(Span::start_with_links("bill orders", Vec::new(), &batch));
    Ok(())
}

/// A thread begins without a context. The sender of its work hands the context over.
fn calculate_elsewhere() -> u32 {
    let context = Context::current();
    let thread = thread::spawn(move || {
        with_context(&context, || {
            let _span = Span::start("calculate", Vec::new());
            (1..=3).sum()
        })
    });
    thread.join().expect("the sum does not panic")
}
