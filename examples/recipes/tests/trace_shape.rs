//! The shape of a service's trace as a test: docs/recipes/test-a-trace.md.

use anyhow::Result;
use harness::{Collector, Process, send, tree};

#[test]
fn an_order_has_this_trace() -> Result<()> {
    let collector = Collector::start();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("ORDERS_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut service = Process::start(env!("CARGO_BIN_EXE_own-service"), &[], &variables)?;
    let url = service.url("server.listening")?;

    let answer = send("GET", &format!("{url}/orders/7"), &[], b"")?;
    assert_eq!(
        answer.status,
        500,
        "the stock is elsewhere: {}",
        answer.text()
    );

    // A process that ends has exported everything, so there is nothing to wait for.
    service.signal("TERM")?;
    let exit = service.wait()?;
    assert!(exit.success(), "{}", exit.output());
    let trace = collector.arrived(&answer.trace_id());
    assert!(trace.is_complete(), "{trace:#?}");
    let expected = "\
GET /orders/{id} SERVER ERROR
  price order INTERNAL
  GET CLIENT ERROR
";
    assert_eq!(tree(&trace), expected);
    Ok(())
}
