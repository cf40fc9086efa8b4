//! The rules that `up` ships, on the whole system: undrifted load is silent, and drifted load fires
//! the rule, whose notice comes signed to a real receiver with traces that open.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{Post, Receiver, eventually};
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::drift::load;
use crate::system::{System, path, start, up};

const SECRET: &str = "a secret of the test that is long enough";

/// The system with the default rules, evaluated often, and a webhook.
fn start_with_rules(receiver: &Receiver) -> Result<(System, TempDir)> {
    let folder = TempDir::new()?;
    std::fs::write(folder.path().join("secret"), SECRET)?;
    let webhook = format!(
        "every = \"100ms\"\n[webhook]\nurl = \"{}/alerts\"\nsecret_file = \"secret\"\n",
        receiver.url()
    );
    let rules = explorer::rules::DEFAULT_RULES.replace("every = \"5s\"\n", &webhook);
    ensure!(rules.contains(&webhook), "the default rules say how often");
    let file = folder.path().join("rules.toml");
    std::fs::write(&file, rules)?;
    let system = System::start_with(&[("EXPLORER_RULES", path(&file))])?;
    Ok((system, folder))
}

/// The report of one rule.
fn rule(system: &System, name: &str) -> Result<Value> {
    let report = system.get(&format!("{}/api/rules", system.urls.explorer))?;
    assert_eq!(report.status, StatusCode::OK, "{}", report.body);
    let mut rules = report.body["rules"].as_array().into_iter().flatten();
    let found = rules.find(|rule| rule["name"] == name);
    found
        .cloned()
        .with_context(|| format!("{name} in {}", report.body))
}

/// The notices, but for those on latency: a busy machine may be slow, and then they are right.
fn notices(receiver: &Receiver) -> Result<Vec<(Post, Value)>> {
    let mut notices = Vec::new();
    for post in receiver.posts() {
        let body = post.json()?;
        let rule = body["data"]["rule"].as_str().context("a rule")?;
        if !["latency", "stage-latency"].contains(&rule) {
            notices.push((post, body));
        }
    }
    Ok(notices)
}

/// Checks the signature as the receiver of a Standard Webhook does.
fn verify(post: &Post) -> Result<()> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    for part in [
        post.header("webhook-id")?,
        post.header("webhook-timestamp")?,
    ] {
        mac.update(part.as_bytes());
        mac.update(b".");
    }
    mac.update(&post.body);
    let signature = post.header("webhook-signature")?;
    let signature = signature.strip_prefix("v1,").context("version 1")?;
    mac.verify_slice(&STANDARD.decode(signature)?)?;
    Ok(())
}

#[test]
fn undrifted_load_is_silent_and_drifted_load_is_posted_with_traces_that_open() -> Result<()> {
    let receiver = Receiver::start(&[]);
    let (system, _folder) = start_with_rules(&receiver)?;
    load(&system, &["--mix", "write"])?;
    load(&system, &["--mix", "hit=2,miss=7,batch=1"])?;
    // 1,200 requests, and the events of their windows, have been looked at.
    let seen = |name: &'static str, least: u64| {
        eventually("the rule has seen the load", || {
            let items = &rule(&system, name)?["groups"][0]["items"];
            Ok((items.as_u64() >= Some(least)).then_some(()))
        })
    };
    seen("errors", 1_200)?;
    seen("confidence", 400)?;
    assert_eq!(notices(&receiver)?.len(), 0, "{:?}", notices(&receiver)?);
    for name in [
        "errors",
        "drift",
        "confidence",
        "validation-accuracy",
        "quality",
    ] {
        let rule = rule(&system, name)?;
        assert_eq!(rule["history"], json!([]), "{rule}");
    }

    load(&system, &["--drift", "alcohol+1.5", "--missing", "0.1"])?;
    let (post, body) = eventually("the notice arrives", || {
        let mut notices = notices(&receiver)?.into_iter();
        Ok(notices.find(|(_, body)| body["data"]["rule"] == "drift"))
    })?;
    assert_eq!(body["type"], "rule.firing");
    assert_eq!(post.line, "POST /alerts HTTP/1.1");
    verify(&post)?;
    let change = &body["data"]["change"];
    assert_eq!(
        change["labels"]["ml.model_name"], "wine_quality",
        "{change}"
    );
    assert_eq!(change["labels"]["ml.variant"], "primary");
    let traces = change["traces"].as_array().context("traces")?;
    assert_eq!(traces.len(), 5, "{body}");
    for trace in traces {
        let (id, api) = (
            &trace["trace_id"],
            trace["api_url"].as_str().context("a URL")?,
        );
        assert_eq!(
            api,
            format!(
                "{}/api/traces/{}",
                system.urls.explorer,
                id.as_str().context("an id")?
            )
        );
        let opened = system.get(api)?;
        assert_eq!(opened.status, StatusCode::OK, "{trace}");
        assert!(
            opened.body.to_string().contains("predict wine_quality"),
            "{trace}"
        );
    }
    assert_eq!(rule(&system, "drift")?["state"], "firing");
    the_command_says_so(&system)
}

fn the_command_says_so(system: &System) -> Result<()> {
    let args = ["rules", "--explorer", &system.urls.explorer, "--history"];
    let mut command = start(&args, &[])?;
    assert!(command.wait()?.success(), "{}", command.output());
    let said = command.output();
    assert!(said.contains("drift                firing"), "{said}");
    assert!(said.contains("/traces/"), "{said}");
    let mut command = start(&[&args[..], &["--fail-if-firing"]].concat(), &[])?;
    assert!(!command.wait()?.success());
    assert!(
        command.output().contains("rules that fire: "),
        "{}",
        command.output()
    );
    Ok(())
}

#[test]
fn feedback_that_predictions_were_wrong_fires_and_feedback_like_the_validation_does_not()
-> Result<()> {
    let receiver = Receiver::start(&[]);
    let (system, _folder) = start_with_rules(&receiver)?;
    let feedback = |wrong: &str| {
        let args = ["feedback", "--gateway", &system.urls.gateway];
        let mut command = start(&[&args[..], &["--wrong", wrong]].concat(), &[])?;
        assert!(command.wait()?.success(), "{}", command.output());
        anyhow::Ok(())
    };
    let seen = |least: u64| {
        eventually("the rule has seen the feedback", || {
            let group = rule(&system, "quality")?["groups"][0].clone();
            Ok((group["items"].as_u64() >= Some(least)).then_some(group))
        })
    };
    feedback("0")?;
    let group = seen(319)?;
    assert_eq!(group["state"], "inactive", "{group}");
    assert_eq!(rule(&system, "drift")?["history"], json!([]));
    feedback("0.9")?;
    let group = seen(638)?;
    assert_eq!(group["state"], "firing", "{group}");
    assert_eq!(group["labels"]["ml.model_name"], "wine_quality");
    let (post, body) = eventually("the notice arrives", || {
        let mut notices = notices(&receiver)?.into_iter();
        Ok(notices.find(|(_, body)| body["data"]["rule"] == "quality"))
    })?;
    verify(&post)?;
    assert!(post.header("traceparent").is_err(), "{post:?}");
    let trace = &body["data"]["change"]["traces"][0]["api_url"];
    let opened = system.get(trace.as_str().context("a trace")?)?;
    assert!(opened.body.to_string().contains("predict wine_quality"));
    Ok(())
}

#[test]
fn up_writes_the_rules_once_and_nothing_fires_on_its_sample() -> Result<()> {
    let data = TempDir::new()?;
    let system = up(data.path(), &["--no-python"], &[])?;
    let explorer = system.wait_line("the explorer's address", |line| {
        line.strip_prefix("explorer ")
            .map(|url| url.trim().to_owned())
    })?;
    let report = eventually("both trainings were looked at", || {
        let report = harness::send("GET", &format!("{explorer}/api/rules"), &[], b"")?.json();
        let trained = |rule: &Value| {
            rule["name"] == "validation-accuracy"
                && rule["groups"]
                    .as_array()
                    .is_some_and(|groups| groups.len() == 2)
        };
        let rules = report["rules"].as_array().cloned().unwrap_or_default();
        Ok(rules.iter().any(trained).then_some(rules))
    })?;
    assert_eq!(report.len(), 7);
    for rule in &report {
        assert_eq!(rule["state"], "inactive", "{rule}");
    }
    let file = data.path().join("rules.toml");
    assert_eq!(
        std::fs::read_to_string(&file)?,
        explorer::rules::DEFAULT_RULES
    );
    Ok(())
}

#[test]
fn rules_that_cannot_be_used_stop_the_explorer_with_the_reason() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("rules.toml");
    let run = |text: &str| {
        std::fs::write(&file, text)?;
        let args = [
            "explorer",
            "--listen",
            "127.0.0.1:0",
            "--otlp-listen",
            "127.0.0.1:0",
        ];
        let mut explorer = start(&[&args[..], &["--rules", path(&file)]].concat(), &[])?;
        assert!(!explorer.wait()?.success());
        anyhow::Ok(explorer.output())
    };
    let said =
        run("[[rules]]\nname = \"r\"\nsummary = \"s\"\nkind = \"latency\"\nwindow = \"1m\"")?;
    assert!(
        said.contains("rule `r`: `longer_than` is missing"),
        "{said}"
    );
    let said = run("[webhook]\nurl = \"http://127.0.0.1:1\"\nsecret_file = \"none\"")?;
    assert!(
        said.contains("cannot read") && said.contains("none"),
        "{said}"
    );
    std::fs::write(folder.path().join("short"), "hunter2")?;
    let said = run("[webhook]\nurl = \"http://127.0.0.1:1\"\nsecret_file = \"short\"")?;
    assert!(
        said.contains("has 7 bytes") && !said.contains("hunter2"),
        "{said}"
    );
    let said = run("[webhook]\nurl = \"ftp://host/t0ken\"")?;
    assert!(
        said.contains("begins with http://") && !said.contains("t0ken"),
        "{said}"
    );
    Ok(())
}
