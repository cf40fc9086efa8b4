//! An encoder in the whole system: as the second variant of `text_sentiment`, and as a model that is
//! added while the system runs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::{Answer, BertFolder, Process, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::system::{path, start, up};

const TEXT: &str = "The pictures are excellent.";

fn post(url: &str, body: &Value, headers: &[(&str, &str)]) -> Result<Answer> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    harness::send("POST", url, &headers, body.to_string().as_bytes())
}

/// The address that `up` printed for a part.
fn address(up: &Process, part: &str) -> Result<String> {
    up.wait_line(part, |line| {
        let mut words = line.split_whitespace();
        let url = (words.next() == Some(part)).then(|| words.next())?;
        url.filter(|url| url.starts_with("http")).map(str::to_owned)
    })
}

fn run(args: &[&str]) -> Result<(bool, String)> {
    let mut process = start(args, &[("OTEL_SDK_DISABLED", "true")])?;
    let exit = process.wait()?;
    Ok((exit.success(), exit.output()))
}

/// A data folder in which `text-setup` has put an encoder; here it is a small one.
fn with_encoder() -> Result<TempDir> {
    let data = TempDir::new()?;
    BertFolder::sentence_encoder().write(&data.path().join("encoder"))?;
    Ok(data)
}

#[test]
fn up_trains_once_on_the_encoder_and_shows_its_variant() -> Result<()> {
    let data = with_encoder()?;
    let training = "training text_sentiment on the encoder";
    let canary = "The same text by the canary: computed on the encoder";
    for (options, trains, shows) in [
        (&["--once", "--no-encoder"][..], false, false),
        (&["--once"], true, true),
        (&["--once"], false, true),
    ] {
        let mut system = up(data.path(), options, &[])?;
        let exit = system.wait()?;
        let said = exit.output();
        ensure!(exit.success(), "{options:?}:\n{said}");
        assert_eq!(said.contains(training), trains, "{options:?}:\n{said}");
        for expected in [
            canary,
            "layer encoder_2",
            "layer pooling",
            "model-service-encoder",
        ] {
            assert_eq!(
                said.contains(expected),
                shows,
                "{options:?}, {expected}:\n{said}"
            );
        }
    }
    assert!(
        data.path()
            .join("encoded/text_sentiment/1/manifest.json")
            .is_file()
    );
    Ok(())
}

#[test]
fn both_variants_are_compared_and_another_encoder_is_added_while_the_system_runs() -> Result<()> {
    let data = with_encoder()?;
    let system = up(data.path(), &[], &[])?;
    system.wait_line("the addresses", |line| {
        line.starts_with("Try:").then_some(())
    })?;
    let gateway = address(&system, "gateway")?;
    let predictions = format!("{gateway}/v1/predictions");
    for variant in ["primary", "canary"] {
        let body = json!({"model": "text_sentiment", "texts": [TEXT, "The camera is terrible."]});
        let baggage = format!("ml.variant={variant}");
        let answer = post(&predictions, &body, &[("baggage", &baggage)])?;
        ensure!(answer.status == 200, "{answer:?}");
        assert_eq!(answer.json()["predictions"][0]["variant"], variant);
    }
    let (success, said) = run(&["variants", "text_sentiment", "--gateway", &gateway])?;
    assert!(success, "{said}");
    for name in ["primary", "canary"] {
        let row = said
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let row = row.with_context(|| format!("no {name} in\n{said}"))?;
        assert!(row.contains("active") && row.contains("ready"), "{row}");
    }
    is_added(&gateway, data.path())
}

fn is_added(gateway: &str, data: &Path) -> Result<()> {
    let (encoder, data) = (data.join("encoder"), path(data));
    let add = ["model", "add", "--from", path(&encoder), "--data-dir", data];
    let (success, said) = run(&[&add[..], &["--name", "minilm"]].concat())?;
    assert!(
        success && said.contains("minilm version 1: a sentence encoder of 2 layers"),
        "{said}"
    );
    let url = format!("{gateway}/v2/models/minilm/infer");
    let inputs = json!([{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}]);
    let answer = eventually("the added model answers", || {
        let answer = post(&url, &json!({ "inputs": inputs }), &[])?;
        Ok((answer.status == 200).then_some(answer))
    })?;
    let output = &answer.json()["outputs"][0];
    assert_eq!(output["name"], "embedding");
    assert_eq!(output["shape"], json!([1, BertFolder::WIDTH]));
    let body = json!({"model": "minilm", "texts": [TEXT]});
    let refused = post(&format!("{gateway}/v1/predictions"), &body, &[])?;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(
        refused.text().contains("at /v2/models/minilm/infer"),
        "{refused:?}"
    );
    // Under the name of a model of another kind it is refused, with a sentence and not a trace.
    let (success, said) = run(&[&add[..], &["--name", "text_sentiment"]].concat())?;
    assert!(
        !success && said.contains("add it under another name with --name"),
        "{said}"
    );
    Ok(())
}
