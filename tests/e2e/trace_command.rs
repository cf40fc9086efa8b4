//! `throughline trace` as a command: it waits for spans that are on their way, and draws pictures.

use anyhow::Result;
use bytes::Bytes;
use harness::Process;
use http::Request;
use serde_json::{Value, json};

use crate::system::{exchange, start};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ROOT: &str = "00f067aa0ba902b7";
const CHILD: &str = "53995c3f42cd8ad8";

/// An explorer alone, with its addresses.
struct Explorer {
    process: Process,
    url: String,
    otlp: String,
}

impl Explorer {
    fn start() -> Result<Self> {
        let process = start(
            &[
                "explorer",
                "--listen",
                "127.0.0.1:0",
                "--exit-with-parent",
                "--otlp-listen",
                "127.0.0.1:0",
            ],
            &[],
        )?;
        let url = process.url("server.listening")?;
        let otlp = process.url("explorer.otlp_listening")?;
        Ok(Self { process, url, otlp })
    }

    fn send(&self, span: &Value) -> Result<()> {
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [{"spans": [span]}],
        }]});
        let request = Request::post(format!("{}/v1/traces", self.otlp))
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()))?;
        let status = exchange(request)?.status;
        anyhow::ensure!(status == 200, "the explorer answers {status}");
        Ok(())
    }

    fn trace(&self, options: &[&str]) -> Result<Process> {
        let mut arguments = vec!["trace", TRACE, "--explorer", &self.url];
        arguments.extend(options);
        start(&arguments, &[])
    }
}

fn span(id: &str, parent: &str, name: &str, from: u64, to: u64) -> Value {
    json!({"traceId": TRACE, "spanId": id, "parentSpanId": parent, "name": name, "kind": 1,
        "startTimeUnixNano": from.to_string(), "endTimeUnixNano": to.to_string()})
}

#[test]
fn it_waits_for_the_spans_that_are_missing() -> Result<()> {
    let explorer = Explorer::start()?;
    explorer.send(&span(CHILD, ROOT, "pack <a> & b", 2_000_000, 3_000_000))?;
    // Without the root the trace is not whole: what there is of it is printed at the end of the wait.
    let mut early = explorer.trace(&["--wait", "0s"])?;
    assert!(early.wait()?.success());
    assert!(
        early.output().contains("pack <a> & b"),
        "{}",
        early.output()
    );
    assert!(!early.output().contains("order"), "{}", early.output());

    let mut patient = explorer.trace(&["--wait", "10m"])?;
    patient.cut_lifeline();
    explorer.send(&span(ROOT, "", "order", 1_000_000, 4_000_000))?;
    assert!(patient.wait()?.success());
    let said = patient.output();
    assert!(said.contains("2 spans · 1 service"), "{said}");
    assert!(said.contains("order") && said.contains("└─ pack"), "{said}");
    Ok(())
}

#[test]
fn a_picture_is_svg_in_which_names_are_escaped() -> Result<()> {
    let explorer = Explorer::start()?;
    explorer.send(&span(ROOT, "", "order", 1_000_000, 4_000_000))?;
    explorer.send(&span(CHILD, ROOT, "pack <a> & b", 2_000_000, 3_000_000))?;
    let mut picture = explorer.trace(&["--svg"])?;
    assert!(picture.wait()?.success());
    let svg = picture.output();
    assert!(
        svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    assert!(svg.contains("pack &lt;a&gt; &amp; b"), "{svg}");
    assert!(!svg.contains("<a>"), "{svg}");
    Ok(())
}

#[test]
fn a_trace_is_a_file_for_other_tools() -> Result<()> {
    let explorer = Explorer::start()?;
    explorer.send(&span(ROOT, "", "order", 1_000_000, 4_000_000))?;
    explorer.send(&span(CHILD, ROOT, "pack <a> & b", 2_000_000, 3_000_000))?;
    let file = |format| -> Result<String> {
        let mut command = explorer.trace(&["--format", format])?;
        assert!(command.wait()?.success(), "{}", command.output());
        Ok(command.output())
    };
    let perfetto: Value = serde_json::from_str(&file("perfetto")?)?;
    let events = perfetto["traceEvents"].as_array().cloned();
    let spans = events.unwrap_or_default().into_iter();
    let spans: Vec<_> = spans.filter(|event| event["ph"] == "X").collect();
    assert_eq!(spans.len(), 2);
    assert_eq!(spans[1]["name"], "pack <a> & b");
    assert_eq!(
        (&spans[1]["ts"], &spans[1]["dur"]),
        (&json!(1000.0), &json!(1000.0))
    );

    // What the command prints is what an exporter may send.
    let otlp: Value = serde_json::from_str(&file("otlp")?)?;
    let again = Explorer::start()?;
    let request = Request::post(format!("{}/v1/traces", again.otlp))
        .header("content-type", "application/json")
        .body(Bytes::from(otlp.to_string()))?;
    assert_eq!(exchange(request)?.status, 200);
    let mut copy = again.trace(&["--format", "otlp"])?;
    assert!(copy.wait()?.success());
    assert_eq!(serde_json::from_str::<Value>(&copy.output())?, otlp);

    let html = file("html")?;
    assert!(html.contains("pack &lt;a&gt; &amp; b"), "{html}");
    assert!(!html.contains("<a>") && !html.contains("<script"), "{html}");
    Ok(())
}

#[test]
fn a_trace_that_never_comes_and_an_explorer_that_is_away_are_errors() -> Result<()> {
    let mut explorer = Explorer::start()?;
    let mut unknown = explorer.trace(&["--wait", "0s"])?;
    assert_eq!(unknown.wait()?.code, Some(1));
    assert!(
        unknown.output().contains("has no trace"),
        "{}",
        unknown.output()
    );
    explorer.process.stop()?;
    let mut away = explorer.trace(&[])?;
    assert_eq!(away.wait()?.code, Some(1));
    assert!(away.output().contains(&explorer.url), "{}", away.output());
    Ok(())
}
