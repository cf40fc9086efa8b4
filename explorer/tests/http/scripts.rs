//! Texts that are HTML or scripts stay texts: answers are JSON that no browser takes for a page, and
//! the page has no way to parse or run a text.

use serde_json::{Value, json};

use crate::support::{Explorer, JSON, TRACE};

const PAYLOADS: [&str; 14] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "\"><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "\u{2028}alert(1)//<!--",
];

/// Whatever parses HTML, runs a text, or makes an address of one.
const SINKS: [&str; 17] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "createContextualFragment",
    "setHTML",
    "srcdoc",
    "eval(",
    "Function(",
    "setTimeout(\"",
    "import(",
    "javascript:",
    "location =",
    "location.href",
    "window.open",
    "trustedTypes.createPolicy",
];

fn attributes(text: &str) -> Value {
    json!([{ "key": text, "value": { "stringValue": text } }])
}

#[test]
fn payloads_come_back_as_texts_in_json() {
    let explorer = Explorer::start(&[]);
    for (at, payload) in (1..).zip(PAYLOADS) {
        let resource = json!({ "attributes": [
            { "key": "service.name", "value": { "stringValue": payload } },
            { "key": payload, "value": { "stringValue": payload } },
        ] });
        let span = json!({ "traceId": TRACE, "spanId": format!("{at:016x}"), "name": payload, "traceState": payload,
            "attributes": attributes(payload), "status": { "code": 2, "message": payload },
            "events": [{ "name": payload, "attributes": attributes(payload) }],
            "links": [{ "traceId": TRACE, "spanId": "00f067aa0ba902b7", "attributes": attributes(payload) }] });
        let spans = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": { "name": payload }, "spans": [span] }] }] });
        let log = json!({ "body": { "stringValue": payload }, "severityText": payload, "eventName": payload,
            "traceId": TRACE, "attributes": attributes(payload) });
        let logs = json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "logRecords": [log] }] }] });
        let metric = json!({ "name": payload, "unit": payload, "description": payload,
            "gauge": { "dataPoints": [{ "asInt": "1", "attributes": attributes(payload) }] } });
        let metrics = json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{ "metrics": [metric] }] }] });
        for (path, document) in [
            ("/v1/traces", spans),
            ("/v1/logs", logs),
            ("/v1/metrics", metrics),
        ] {
            let answer = explorer.post(path, &[JSON], document.to_string().as_bytes());
            assert_eq!(answer.text(), "{}", "{payload}");
        }
    }
    for path in [
        "/api/traces",
        &format!("/api/traces/{TRACE}"),
        "/api/logs",
        "/api/services",
        "/api/metrics",
        "/api/traces?status=%3Cscript%3E",
        "/%3Cscript%3Ealert(1)",
    ] {
        let answer = explorer.get(path);
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{path}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("require-trusted-types-for 'script'"),
            "{path}: {policy}"
        );
    }
    let trace = explorer.read(&format!("/api/traces/{TRACE}"));
    let names: Vec<_> = trace["resourceSpans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| {
            resource["scopeSpans"][0]["spans"][0]["name"]
                .as_str()
                .unwrap()
        })
        .collect();
    let mut expected = PAYLOADS.to_vec();
    expected.sort_by_key(|payload| names.iter().position(|name| name == payload));
    assert_eq!(names, expected);
}

/// The pages, and the files that they load.
fn pages() -> Vec<String> {
    let pages = ["/", "/rules", "/traces/5b8efff798038103d269b633813fc60c"];
    pages.map(str::to_owned).to_vec()
}

#[test]
fn no_page_has_a_sink_for_a_text() {
    let explorer = Explorer::start(&[]);
    let mut files = pages();
    for page in pages() {
        let html = explorer.get(&page).text();
        let loaded = html.split('"').filter(|part| part.starts_with("/assets/"));
        files.extend(loaded.map(str::to_owned));
        // No handler, no style and no script in the document itself.
        let html = html.to_lowercase();
        for inline in [" onclick=", " onerror=", "<style", " style=", "<script>"] {
            assert!(!html.contains(inline), "{page} has {inline}");
        }
    }
    assert!(files.iter().any(|file| file == "/assets/base.js"));
    for path in files {
        let text = explorer.get(&path).text();
        for sink in SINKS {
            assert!(!text.contains(sink), "{path} has {sink}");
        }
    }
}

#[test]
fn payloads_are_texts_in_the_pages() {
    let explorer = Explorer::start(&[]);
    let resource = json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": PAYLOADS[0] } }] });
    for (at, payload) in (1..).zip(PAYLOADS) {
        let span = json!({ "traceId": TRACE, "spanId": format!("{at:016x}"), "name": payload,
            "attributes": attributes(payload), "status": { "code": 2, "message": payload } });
        let spans = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": [span] }] }] });
        explorer.post("/v1/traces", &[JSON], spans.to_string().as_bytes());
    }
    for page in pages() {
        let html = explorer.get(&page).text();
        for start in ["<script>", "<img", "<svg/", "<iframe", "<math", "<form><"] {
            assert!(!html.contains(start), "{page} has {start}");
        }
    }
    let html = explorer.get(&format!("/traces/{TRACE}")).text();
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{html}"
    );
}
