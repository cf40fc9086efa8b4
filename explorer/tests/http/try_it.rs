//! "Try it" and replays say in words what stands in their way. With a real gateway: `tests/browser`.

use harness::{Answer, send, wait_until};
use serde_json::{Value, json};

use crate::support::{Explorer, JSON, TRACE};

/// Nothing listens there: a port below those that anybody gets by chance.
const NOBODY: &str = "http://127.0.0.1:9";

fn post(explorer: &Explorer, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let url = format!("{}{path}", explorer.url());
    send("POST", &url, headers, body.as_bytes()).expect("an answer")
}

/// A trace whose first span is the gateway's.
fn store(explorer: &Explorer, attributes: &[(&str, Value)]) {
    let attributes = attributes.iter();
    let attributes: Vec<Value> = attributes
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    let resource =
        json!({"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}}]});
    let span = json!({
        "traceId": TRACE, "spanId": "00f067aa0ba902b7", "name": "POST /v1/predictions", "kind": 2,
        "startTimeUnixNano": "1764247811000000000", "endTimeUnixNano": "1764247811005000000",
        "attributes": attributes,
    });
    let document =
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]});
    let answer = explorer.post("/v1/traces", &[JSON], document.to_string().as_bytes());
    assert_eq!(answer.status, 200);
}

fn text(value: &str) -> Value {
    json!({"stringValue": value})
}

#[test]
fn without_a_gateway_the_page_says_what_to_do() {
    let explorer = Explorer::start(&[]);
    store(&explorer, &[]);
    let replay = format!("/traces/{TRACE}/replay");
    for answer in [
        explorer.get("/try"),
        explorer.get(&replay),
        post(&explorer, "/try", &[], "model=m&entity=a"),
        post(&explorer, &replay, &[], ""),
    ] {
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("--gateway"), "{}", answer.text());
    }
    let unknown = "/traces/00000000000000000000000000000001/replay";
    assert_eq!(explorer.get(unknown).status, 404);
    assert_eq!(post(&explorer, unknown, &[], "").status, 404);
    assert_eq!(
        explorer.get("/try/00000000000000000000000000000001").status,
        404
    );
    assert_eq!(explorer.get("/try/evil").status, 404);
}

#[test]
fn a_gateway_that_does_not_answer_is_named() {
    let explorer = Explorer::start(&["--gateway", NOBODY]);
    let form = explorer.get("/try").text();
    assert!(
        form.contains("The gateway at http://127.0.0.1:9 does not answer"),
        "{form}"
    );
    let sent = post(
        &explorer,
        "/try",
        &[],
        "model=wine_quality&entity=wine-0001",
    );
    assert_eq!(sent.status, 303);
    let page = sent.header("location").unwrap();
    assert!(page.starts_with("/try/"), "{page}");
    wait_until("the failure is told", || {
        let shown = explorer.get(page).text();
        shown.contains("does not answer") && shown.contains("There is no trace")
    });
    let shown = explorer.get(page).text();
    assert!(!shown.contains("data-arriving"), "{shown}");
}

#[test]
fn the_address_may_come_later_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway-address");
    let explorer = Explorer::start(&["--gateway", path.to_str().unwrap()]);
    let said = explorer.get("/try").text();
    assert!(said.contains("the gateway has not started"), "{said}");
    std::fs::write(&path, format!("{NOBODY}/\n")).unwrap();
    let said = explorer.get("/try").text();
    assert!(
        said.contains("The gateway at http://127.0.0.1:9 does not answer"),
        "{said}"
    );
    std::fs::write(&path, "ftp://nowhere").unwrap();
    assert!(
        explorer
            .get("/try")
            .text()
            .contains("has no address such as")
    );
}

#[test]
fn a_wrong_field_and_a_foreign_page_send_nothing() {
    let explorer = Explorer::start(&["--gateway", NOBODY]);
    let wrong = post(
        &explorer,
        "/try",
        &[],
        "model=m&entity=a&variant=a%2Cfault%3Db",
    );
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text().contains("a variant has letters"),
        "{}",
        wrong.text()
    );
    for headers in [
        [("origin", "https://evil.example"), ("x-a", "b")],
        [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ],
    ] {
        let body = "model=wine_quality&entity=wine-0001";
        assert_eq!(post(&explorer, "/try", &headers, body).status, 403);
    }
}

#[test]
fn what_cannot_be_sent_again_is_said() {
    let explorer = Explorer::start(&["--gateway", NOBODY]);
    let replay = format!("/traces/{TRACE}/replay");
    store(
        &explorer,
        &[
            ("http.route", text("/v1/predictions")),
            ("ml.model_name", text("text_sentiment<script>")),
            ("ml.data_id", text("text-7bfaf76face7b6eb")),
        ],
    );
    let page = explorer.get(&replay).text();
    assert!(page.contains("texts are not captured"), "{page}");
    assert!(!page.contains("<script>"), "{page}");
    let sent = post(&explorer, &replay, &[], "cache=no-cache");
    assert_eq!(sent.status, 400);
    assert!(sent.text().contains("texts are not captured"));
}
