//! Rules of a file on what arrives over the socket, and the notices that a receiver gets.

use std::fs;

use harness::{Receiver, wait_until};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Explorer, span, trace_hex};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RULE: &str = r#"
    [[rules]]
    name = "errors"
    summary = "requests fail"
    kind = "error_rate"
    above = 0.2
    window = "1h"
    by = ["service.name"]
"#;

/// An explorer that evaluates every 20 ms and tells `receiver`.
fn start(folder: &TempDir, receiver: &str) -> Explorer {
    let file = folder.path().join("rules.toml");
    fs::write(folder.path().join("secret"), format!("{SECRET}\n")).expect("a file");
    let webhook = format!(
        "every = \"20ms\"\n[webhook]\nurl = \"{receiver}/hook?token=t0ken\"\nsecret_file = \"secret\"\nfirst_retry = \"10ms\"\n{RULE}"
    );
    fs::write(&file, webhook).expect("a file");
    Explorer::start(&["--rules", file.to_str().expect("a plain name")])
}

fn failed(trace: u64) -> Span {
    Span {
        status: Some(Status {
            code: 2,
            ..Status::default()
        }),
        ..span(trace, 1, 0)
    }
}

fn webhook(explorer: &Explorer, count: &str) -> u64 {
    explorer.read("/api/rules")["webhook"][count]
        .as_u64()
        .expect("a count")
}

fn state(explorer: &Explorer) -> Value {
    explorer.read("/api/rules")["rules"][0]["state"].clone()
}

#[test]
fn a_rule_that_fires_is_posted_with_a_signature_and_traces_that_open() {
    let (folder, receiver) = (TempDir::new().unwrap(), Receiver::start(&[]));
    let explorer = start(&folder, &receiver.url());
    explorer.spans("gateway", vec![span(1, 1, 0)]);
    wait_until("the group is there", || {
        explorer.read("/api/rules")["rules"][0]["groups"][0]["items"] == 1
    });
    assert_eq!(state(&explorer), "inactive");

    explorer.spans("gateway", vec![failed(2)]);
    wait_until("a notice arrives", || webhook(&explorer, "delivered") == 1);
    assert_eq!(state(&explorer), "firing");
    let posts = receiver.posts();
    let [post] = &posts[..] else {
        panic!("{posts:?}")
    };
    assert_eq!(post.line, "POST /hook?token=t0ken HTTP/1.1");
    assert_eq!(post.header("content-type").unwrap(), "application/json");
    assert_eq!(post.header("webhook-signature").unwrap().len(), 3 + 44);
    assert!(post.header("webhook-id").unwrap().starts_with("msg_"));
    let body = post.json().unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["rule"]),
        (&"rule.firing".into(), &"errors".into())
    );
    let change = &body["data"]["change"];
    assert_eq!(change["labels"]["service.name"], "gateway");
    assert_eq!(change["value"], 0.5);
    let trace = &change["traces"][0];
    assert_eq!(trace["trace_id"], trace_hex(2));
    let path = |url: &Value| {
        url.as_str()
            .unwrap()
            .strip_prefix(&explorer.url())
            .unwrap()
            .to_owned()
    };
    assert_eq!(explorer.get(&path(&trace["api_url"])).status, 200);
    assert_eq!(explorer.get(&path(&trace["url"])).status, 200);
    assert_eq!(explorer.get(&path(&body["data"]["url"])).status, 200);

    // Enough good requests end it.
    explorer.spans("gateway", (3..13).map(|trace| span(trace, 1, 0)).collect());
    wait_until("it is resolved", || webhook(&explorer, "delivered") == 2);
    assert_eq!(receiver.posts()[1].json().unwrap()["type"], "rule.resolved");
    assert_eq!(state(&explorer), "resolved");
    // Neither the secret nor the token is in any answer.
    for path in ["/api/rules", "/rules"] {
        let text = explorer.get(path).text();
        assert!(text.contains(&receiver.url()), "{text}");
        assert!(!text.contains("t0ken") && !text.contains(SECRET), "{text}");
    }
}

#[test]
fn a_receiver_that_is_busy_is_asked_again_with_the_same_id() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start(&["503 Service Unavailable", "429 Too Many Requests"]);
    let explorer = start(&folder, &receiver.url());
    explorer.spans("gateway", vec![failed(1)]);
    wait_until("the third attempt succeeds", || {
        webhook(&explorer, "delivered") == 1
    });
    assert_eq!(webhook(&explorer, "failed_attempts"), 2);
    assert_eq!(webhook(&explorer, "given_up"), 0);
    let posts = receiver.posts();
    assert_eq!(posts.len(), 3);
    for post in &posts {
        assert_eq!(
            post.header("webhook-id").unwrap(),
            posts[0].header("webhook-id").unwrap()
        );
        assert_eq!(post.body, posts[0].body);
    }
}

#[test]
fn a_redirect_and_a_refusal_are_not_followed_and_five_attempts_are_enough() {
    let elsewhere = Receiver::start(&[]);
    let redirect = format!(
        "307 Temporary Redirect\r\nlocation: {}/stolen",
        elsewhere.url()
    );
    for (answers, attempts) in [
        (vec![redirect.as_str()], 1),
        (vec!["401 Unauthorized"], 1),
        (vec!["500 Internal Server Error"; 9], 5),
    ] {
        let folder = TempDir::new().unwrap();
        let receiver = Receiver::start(&answers);
        let explorer = start(&folder, &receiver.url());
        explorer.spans("gateway", vec![failed(1)]);
        wait_until("it is given up", || webhook(&explorer, "given_up") == 1);
        assert_eq!(receiver.posts().len(), attempts, "{answers:?}");
        assert_eq!(webhook(&explorer, "failed_attempts"), attempts as u64);
        // The rule fires all the same.
        assert_eq!(state(&explorer), "firing");
    }
    assert!(elsewhere.posts().is_empty());
}

#[test]
fn a_receiver_that_is_not_there_disturbs_nobody() {
    let folder = TempDir::new().unwrap();
    let gone = Receiver::start(&[]).url();
    let explorer = start(&folder, &gone);
    explorer.spans("gateway", vec![failed(1)]);
    wait_until("it is given up", || webhook(&explorer, "given_up") == 1);
    assert_eq!(explorer.spans("gateway", vec![failed(2)]).status, 200);
    assert_eq!(explorer.get("/rules").status, 200);
}

#[test]
fn labels_are_text_on_the_page() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start(&[]);
    let explorer = start(&folder, &receiver.url());
    explorer.spans("\"><script>alert(1)</script>'&", vec![failed(1)]);
    wait_until("it fires", || state(&explorer) == "firing");
    let page = explorer.get("/rules");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(
        page.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
    let text = page.text();
    assert!(!text.contains("<script>"), "{text}");
    let escaped = "service.name=&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;'&amp;";
    assert!(text.contains(escaped), "{text}");
    assert!(
        text.contains(&format!("/traces/{}", trace_hex(1))),
        "{text}"
    );
}

#[test]
fn without_rules_the_page_says_so() {
    let explorer = Explorer::start(&[]);
    assert_eq!(explorer.read("/api/rules")["rules"], serde_json::json!([]));
    assert!(explorer.get("/rules").text().contains("There are no rules"));
}
