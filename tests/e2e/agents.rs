//! `throughline mcp` as a coding agent uses it: twelve faults on the real system, each found by a
//! fixed script of tool calls, whose number is part of the test.

mod client;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use harness::eventually;
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::System;
use client::Agent;

/// What an agent is sent to find, and how.
struct Fault {
    name: &'static str,
    /// Makes it happen in the system.
    seed: fn(&mut System) -> Result<()>,
    /// Arguments of `find_traces`.
    find: fn() -> Value,
    /// The span that `read_span` is asked for; without one `read_trace` is enough.
    span: Option<&'static str>,
    /// What the last answer says.
    says: &'static [&'static str],
    /// Tool calls that the script needs.
    calls: usize,
}

const FAULTS: [Fault; 12] = [
    Fault {
        name: "the feature store is slow",
        seed: |system| injected(system, "wine-0101", "feature-store:latency:700"),
        find: || json!({"min_duration_ms": 650, "limit": 1}),
        span: None,
        says: &["most time of its own: POST /get-online-features of feature-store, "],
        calls: 2,
    },
    Fault {
        name: "the model service is slow",
        seed: |system| injected(system, "wine-0102", "model-service:latency:900"),
        find: || json!({"min_duration_ms": 850, "limit": 1}),
        span: None,
        says: &["most time of its own: POST /v2/models/{model_name}/infer of model-service, "],
        calls: 2,
    },
    Fault {
        name: "the gateway is slow",
        seed: |system| injected(system, "wine-0103", "gateway:latency:1200"),
        find: || json!({"min_duration_ms": 1150, "limit": 1}),
        span: None,
        says: &["most time of its own: POST /v1/predictions of gateway, "],
        calls: 2,
    },
    Fault {
        name: "the feature store answers with an error",
        seed: |system| injected(system, "wine-0104", "feature-store:error"),
        find: failed,
        span: Some("POST /get-online-features"),
        says: &["\"service\": \"feature-store\"", "fault_injected"],
        calls: 3,
    },
    Fault {
        name: "the model service answers with an error",
        seed: |system| injected(system, "wine-0105", "model-service:error"),
        find: failed,
        span: Some("POST /v2/models/{model_name}/infer"),
        says: &["\"service\": \"model-service\"", "fault_injected"],
        calls: 3,
    },
    Fault {
        name: "the gateway answers with an error",
        seed: |system| injected(system, "wine-0106", "gateway:error"),
        find: failed,
        span: Some("POST /v1/predictions"),
        says: &["\"service\": \"gateway\"", "fault_injected"],
        calls: 3,
    },
    Fault {
        name: "the feature store drops the connection",
        seed: |system| injected(system, "wine-0107", "feature-store:drop"),
        find: failed,
        span: None,
        says: &["error: POST of model-service"],
        calls: 2,
    },
    Fault {
        name: "the header with the trace's context is lost",
        seed: |system| exported(system, 1, "4bf92f3577b34da6", 0),
        find: || json!({"service": "shop", "limit": 1}),
        span: None,
        says: &["problem: orphan: charge INTERNAL shop has the parent 4bf92f3577b34da6"],
        calls: 2,
    },
    Fault {
        name: "a clock is ahead",
        seed: |system| exported(system, 2, "00000000000000aa", 5_000_000_000),
        find: || json!({"service": "shop", "limit": 1}),
        span: None,
        says: &["problem: clock: charge INTERNAL shop starts 5.00 s before its parent"],
        calls: 2,
    },
    Fault {
        name: "a time limit that no model can keep",
        seed: hurried,
        find: failed,
        span: Some("POST /v2/models/{model_name}/infer"),
        says: &["\"http.response.status_code\": 504"],
        calls: 3,
    },
    Fault {
        name: "the feature store is gone",
        seed: |system| {
            let part = system.feature_store.take();
            part.context("the feature store runs")?.kill()?;
            answered(system, "wine-0108", "")
        },
        find: failed,
        span: None,
        says: &["error: POST of model-service"],
        calls: 2,
    },
    Fault {
        name: "the model service is gone",
        seed: |system| {
            let part = system.model_service.take();
            part.context("the model service runs")?.kill()?;
            answered(system, "wine-0109", "")
        },
        find: failed,
        span: None,
        says: &["error: POST of gateway"],
        calls: 2,
    },
];

fn failed() -> Value {
    json!({"status": "error", "limit": 1})
}

#[test]
fn an_agent_finds_twelve_faults_with_a_fixed_script() -> Result<()> {
    let mut system = System::start()?;
    let mut agent = Agent::start(&system.urls.explorer, &system.urls.gateway)?;
    for fault in &FAULTS {
        let before = agent.call("find_traces", &(fault.find)())?;
        (fault.seed)(&mut system).context(fault.name)?;
        let mut last = String::new();
        let found = eventually(fault.name, || {
            let (answer, calls) = investigate(&mut agent, fault, &before)?;
            let says = fault.says.iter().all(|part| answer.contains(part));
            last.clone_from(&answer);
            Ok(says.then_some((answer, calls)))
        });
        let (answer, calls) = found.with_context(|| format!("the last answer: {last}"))?;
        assert_eq!(calls, fault.calls, "{}: {answer}", fault.name);
        println!("{:<45} {calls} calls", fault.name);
        let row = format!("| {} | {calls} |\n", fault.name);
        let document = include_str!("../../docs/agents.md");
        assert!(document.contains(&row), "docs/agents.md has no row {row}");
    }
    Ok(())
}

/// The script: the newest trace that matches, its tree, and if need be one span. Returns the last answer, and
/// how many calls it took. While the trace is still arriving, the answer lacks something.
fn investigate(agent: &mut Agent, fault: &Fault, before: &str) -> Result<(String, usize)> {
    let calls = agent.calls();
    let found = agent.call("find_traces", &(fault.find)())?;
    if found == before {
        return Ok((found, 1));
    }
    let Ok(trace) = serde_json::from_str::<Value>(&found) else {
        return Ok((found, 1));
    };
    let mut answer = agent.call("read_trace", &json!({"trace_id": trace["trace_id"]}))?;
    if let Some(span) = fault.span
        && answer.contains(span)
    {
        let arguments = json!({"trace_id": trace["trace_id"], "span": span});
        answer = agent.call("read_span", &arguments)?;
    }
    Ok((answer, agent.calls() - calls))
}

fn injected(system: &System, data_id: &str, fault: &str) -> Result<()> {
    answered(system, data_id, &format!("fault={fault}"))
}

/// Sends a request, whose answer is not the agent's to see.
fn answered(system: &System, data_id: &str, baggage: &str) -> Result<()> {
    let headers = [("baggage", baggage)];
    let headers = if baggage.is_empty() {
        &[][..]
    } else {
        &headers
    };
    system.predict_with(&[data_id], headers)?;
    Ok(())
}

/// An inference with a limit of 1 µs.
fn hurried(system: &mut System) -> Result<()> {
    let input =
        json!({"name": "data_id", "datatype": "BYTES", "shape": [1], "data": ["wine-0110"]});
    let body = json!({"inputs": [input], "parameters": {"timeout": 1}}).to_string();
    let url = format!("{}/v2/models/wine_quality/infer", system.urls.gateway);
    let answer = system.post(&url, body, &[])?;
    assert_eq!(
        answer.status,
        StatusCode::GATEWAY_TIMEOUT,
        "{}",
        answer.body
    );
    Ok(())
}

/// A trace of another program: `charge` below `parent`, and `pay`, the root `00000000000000aa`, which
/// begins `late` nanoseconds later.
fn exported(system: &System, trace: u8, parent: &str, late: u64) -> Result<()> {
    let trace_id = format!("{trace:02x}").repeat(16);
    let start = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let span = |id: &str, name: &str, parent: &str, start: u64| {
        json!({"traceId": trace_id, "spanId": id, "parentSpanId": parent, "name": name, "kind": 1,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000_000).to_string()})
    };
    let spans = [
        span("00000000000000aa", "pay", "", start + late),
        span("00000000000000bb", "charge", parent, start),
    ];
    let resource =
        json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    let body = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]});
    let url = format!("{}/v1/traces", system.urls.otlp);
    let answer = system.post(&url, body.to_string(), &[])?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    Ok(())
}

#[test]
fn the_protocol_is_spoken_and_wrong_calls_are_said_in_words() -> Result<()> {
    let system = System::start()?;
    system.predict(&["wine-0001"])?;
    let mut agent = Agent::start(&system.urls.explorer, &system.urls.gateway)?;
    let tools = agent.request("tools/list", &json!({}))?;
    let names: Vec<&str> = tools["tools"]
        .as_array()
        .context("tools")?
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    assert!(
        names.contains(&"find_traces") && names.len() >= 9,
        "{names:?}"
    );
    let models = agent.call("list_models", &json!({}))?;
    assert!(models.contains("wine_quality"), "{models}");
    every_tool_answers(&mut agent)?;
    for (tool, arguments, says) in [
        ("read_trace", json!({}), "missing field `trace_id`"),
        ("read_trace", json!({"trace_id": "xyz"}), "32 hex digits"),
        (
            "read_trace",
            json!({"trace_id": "5b8efff798038103d269b633813fc60c"}),
            "has no trace",
        ),
        (
            "find_traces",
            json!({"colour": "red"}),
            "unknown field `colour`",
        ),
        (
            "find_traces",
            json!({"status": "maybe"}),
            "status must be ok or error",
        ),
        ("no_such_tool", json!({}), "there is no tool no_such_tool"),
    ] {
        let said = agent.refused(tool, &arguments)?;
        assert!(said.contains(says), "{tool} {arguments}: {said}");
    }
    Ok(())
}

/// Each of the tools that the twelve faults do not need.
fn every_tool_answers(agent: &mut Agent) -> Result<()> {
    let computed = json!({"conditions": ["ml.data_id is wine-0001", "ml.output.confidence > 0"], "since": "10m",
        "max_duration_ms": 600_000, "text": "predict", "limit": 1});
    let trace = eventually("the trace of the prediction", || {
        let found = agent.call("find_traces", &computed)?;
        Ok(serde_json::from_str::<Value>(&found).ok())
    })?;
    let id = trace["trace_id"].as_str().context("an id")?.to_owned();
    let none = json!({"conditions": ["ml.data_id is wine-1599"]});
    assert_eq!(agent.call("find_traces", &none)?, "no trace matches");
    let same = agent.call("compare_traces", &json!({"a": id, "b": id}))?;
    assert!(same.contains("predict wine_quality"), "{same}");
    // Both calls over HTTP are named POST: one is read, the other one is said.
    let both = agent.call("read_span", &json!({"trace_id": id, "span": "POST"}))?;
    assert!(both.contains("others_of_this_name"), "{both}");
    for (tool, arguments, says) in [
        (
            "find_logs",
            json!({"text": "listens", "severity": "info"}),
            "listens on",
        ),
        (
            "read_metric",
            json!({"name": "http.server.request.duration"}),
            "gateway",
        ),
        ("list_services", json!({}), "feature-store"),
        (
            "find_differences",
            json!({"selected": "failed", "model": "wine_quality", "since": "10m"}),
            "0 selected, ",
        ),
        (
            "read_model",
            json!({"name": "wine_quality"}),
            "preprocess_input",
        ),
        ("list_rules", json!({}), "the explorer has no rules"),
    ] {
        eventually(tool, || {
            let answer = agent.call(tool, &arguments)?;
            Ok(answer.contains(says).then_some(()))
        })?;
    }
    Ok(())
}
