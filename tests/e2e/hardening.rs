//! The commands of docs/hardening.md, and the tests that documents name.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use harness::Process;
use tempfile::TempDir;

use crate::architecture::files;
use crate::system::{PROGRAM, path};

/// The `sh` blocks of the page that have this in them, as one script.
fn script(part: &str) -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hardening.md");
    let page = std::fs::read_to_string(page)?;
    // The rest of a fence's line is for the runner of documents.
    let blocks = page.split("\n```sh").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next()?.split_once('\n'));
    let block = blocks.find_map(|(_, text)| Some(text).filter(|text| text.contains(part)));
    Ok(block.context(part.to_owned())?.to_owned())
}

/// Runs a script in `folder`, where `throughline` is the program under test.
fn run(folder: &Path, script: &str) -> Result<Output> {
    let script = format!("throughline() {{ {PROGRAM} \"$@\"; }}\n{script}");
    let mut command = harness::command("bash");
    let output = command
        .args(["-euc", &script])
        .current_dir(folder)
        .output()?;
    ensure!(
        output.status.success(),
        "{script}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

#[test]
fn keys_are_made_and_used_as_the_page_says() -> Result<()> {
    let folder = TempDir::new()?;
    run(folder.path(), &script("api-key create")?)?;
    let start = script("throughline gateway --listen")?;
    let start = start.trim_start_matches("throughline gateway");
    let keys = folder.path().join("keys.toml");
    let mut args: Vec<&str> = start.split_whitespace().collect();
    for arg in &mut args {
        match *arg {
            "127.0.0.1:8080" => *arg = "127.0.0.1:0",
            "keys.toml" => *arg = path(&keys),
            _ => {}
        }
    }
    let store = folder.path().join("predictions.db");
    let nobody = "http://127.0.0.1:9";
    let more = [
        "gateway",
        "--model-service",
        nobody,
        "--prediction-store",
        path(&store),
    ];
    let variables = [("OTEL_SDK_DISABLED", "true")];
    let gateway = Process::start(PROGRAM, &[&more[..], &args].concat(), &variables)?;
    let url = gateway.url("server.listening")?;
    let address = url.trim_start_matches("http://");
    let use_it = script("curl -s")?.replace("127.0.0.1:8080", address);
    // Both keys get in; behind the gateway there is no model service.
    let (curl, variants) = use_it.trim_end().split_once('\n').context("two commands")?;
    let listed = run(folder.path(), curl)?;
    let listed = String::from_utf8(listed.stdout)?;
    assert!(listed.contains("model_unavailable"), "{listed}");
    let variants = format!("export GATEWAY_URL={url}\n{variants} 2>&1 || true");
    let said = String::from_utf8(run(folder.path(), &variants)?.stdout)?;
    assert!(said.contains("model_unavailable"), "{said}");
    Ok(())
}

#[test]
fn the_whole_system_runs_with_certificates_on_both_sides_of_every_call() -> Result<()> {
    let folder = TempDir::new()?;
    run(folder.path(), &script("openssl req")?)?;
    let free = "export THROUGHLINE_GATEWAY_PORT=0 THROUGHLINE_MODEL_SERVICE_PORT=0 \
        THROUGHLINE_FEATURE_STORE_PORT=0 THROUGHLINE_EXPLORER_PORT=0 THROUGHLINE_OTLP_PORT=0";
    let started = run(folder.path(), &format!("{free}\n{}", script("up --once")?))?;
    let said = String::from_utf8(started.stdout)?;
    for expected in [
        "A miss: computed by the model",
        "A hit: from the prediction store",
        "predict wine_quality",
        "SELECT wine_features",
        "https://127.0.0.1:",
    ] {
        assert!(said.contains(expected), "no {expected:?} in:\n{said}");
    }
    assert!(!said.contains("http://"), "{said}");
    Ok(())
}

#[test]
fn the_tests_that_documents_name_exist() -> Result<()> {
    let sources: String = [".rs", ".py"]
        .into_iter()
        .map(|ending| Ok(files(ending)?.into_iter().map(|(_, text)| text).collect()))
        .collect::<Result<Vec<String>>>()?
        .concat();
    let is_test = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.bytes().all(plain) && name.matches('_').count() > 2
    };
    let mut named = 0;
    for (document, text) in files("SECURITY.md")?
        .into_iter()
        .chain(files("docs/limits.md")?)
    {
        for name in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| is_test(name))
        {
            let defined = ["fn ", "def "].map(|word| format!("{word}{name}("));
            let exists = defined.iter().any(|defined| sources.contains(defined));
            assert!(exists, "{document} names {name}, which is no test");
            named += 1;
        }
    }
    assert!(named > 60, "only {named} tests are named");
    Ok(())
}
