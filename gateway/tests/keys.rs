//! API keys over real processes: made by the gateway's own command, asked for beyond loopback, and
//! never written anywhere.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result};
use harness::{Collector, Process, send};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
/// The model service is not there, and the start waits for it no longer than for a refusal.
const NOBODY: [&str; 2] = ["--model-service", "http://127.0.0.1:9"];

fn create(file: &Path, name: &str, more: &[&str]) -> Result<Output> {
    let mut command = harness::command(GATEWAY);
    command
        .args(["api-key", "create", "--name", name])
        .args(more);
    Ok(command.env("GATEWAY_API_KEYS", file).output()?)
}

/// A new key, from standard output.
fn new_key(file: &Path, name: &str) -> Result<String> {
    let output = create(file, name, &[])?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

fn start(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Result<Process> {
    let store = folder.join("predictions.db");
    let store = store.to_str().context("a path")?;
    let args = [&NOBODY[..], &["--prediction-store", store], args].concat();
    Process::start(GATEWAY, &args, variables)
}

/// The address of a gateway that may listen everywhere, over loopback.
fn url(gateway: &Process) -> Result<String> {
    Ok(gateway
        .url("server.listening")?
        .replace("0.0.0.0", "127.0.0.1"))
}

fn status(url: &str, key: Option<&str>) -> Result<u16> {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<_> = bearer
        .iter()
        .map(|bearer| ("authorization", bearer.as_str()))
        .collect();
    Ok(send("GET", &format!("{url}/openapi.json"), &headers, &[])?.status)
}

#[test]
fn the_command_prints_a_key_once_and_keeps_its_hash() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys.toml");
    let limits = [
        "--requests-per-second",
        "2.5",
        "--burst",
        "9",
        "--max-in-flight",
        "4",
    ];
    let output = create(&file, "first", &limits)?;
    assert!(output.status.success(), "{output:?}");
    let first = String::from_utf8(output.stdout)?;
    assert!(
        first.starts_with("tl_") && first.len() == 3 + 64 + 1,
        "{first}"
    );
    let second = new_key(&file, "second")?;
    assert_ne!(first.trim_end(), second);
    let text = std::fs::read_to_string(&file)?;
    assert!(
        !text.contains(first.trim_end()) && !text.contains(&second),
        "{text}"
    );
    for expected in [
        "name = \"first\"",
        "requests_per_second = 2.5\nburst = 9\nmax_in_flight = 4",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    // Nothing is added that would make the file invalid.
    for (name, more, why) in [
        ("first", &[][..], "the name `first` is there twice"),
        ("a b", &[], "a name has"),
        (
            "third",
            &["--requests-per-second", "0"],
            "requests_per_second",
        ),
    ] {
        let output = create(&file, name, more)?;
        let error = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && error.contains(why), "{error}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(std::fs::read_to_string(&file)?, text);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600);
    }
    Ok(())
}

#[test]
fn beyond_loopback_it_starts_with_keys_or_when_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let open = ["--listen", "0.0.0.0:0", "--exit-with-parent"];
    let quiet = ("OTEL_SDK_DISABLED", "true");
    let exit = start(folder.path(), &open, &[quiet])?.wait()?;
    assert_eq!(exit.code, Some(1));
    for advice in ["api-key create", "--api-keys", "--insecure-listen"] {
        assert!(exit.output().contains(advice), "{}", exit.output());
    }

    let insecure = ("GATEWAY_INSECURE_LISTEN", "true");
    let mut gateway = start(folder.path(), &open, &[quiet, insecure])?;
    assert_eq!(status(&url(&gateway)?, None)?, 200);
    let exit = gateway.stop()?;
    assert_eq!(exit.events("server.exposed").len(), 1);

    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "client")?;
    let keys = ("GATEWAY_API_KEYS", file.to_str().context("a path")?);
    let mut gateway = start(folder.path(), &open, &[quiet, keys])?;
    let address = url(&gateway)?;
    assert_eq!(status(&address, None)?, 401);
    assert_eq!(status(&address, Some(&key))?, 200);
    assert!(gateway.stop()?.success());
    Ok(())
}

#[test]
fn a_key_is_made_while_the_gateway_runs_and_is_in_no_log_and_no_telemetry() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys.toml");
    let first = new_key(&file, "first")?;
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let variables = [
        ("GATEWAY_API_KEYS", file.to_str().context("a path")?),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("RUST_LOG", "trace"),
    ];
    let local = ["--listen", "127.0.0.1:0", "--exit-with-parent"];
    let mut gateway = start(folder.path(), &local, &variables)?;
    let address = url(&gateway)?;
    assert_eq!(status(&address, Some(&first))?, 200);
    assert_eq!(status(&address, Some("tl_wrong"))?, 401);
    let second = new_key(&file, "second")?;
    gateway.wait_event("api_keys.changed")?;
    assert_eq!(status(&address, Some(&second))?, 200);
    let exit = gateway.stop()?;
    assert!(exit.success(), "{}", exit.output());

    let spans = collector.spans();
    let mut names: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "GET /openapi.json")
        .map(|span| {
            let status = span.attributes["http.response.status_code"].to_string();
            let name = span.attributes.get("throughline.api_key.name");
            (status, name.map(ToString::to_string))
        })
        .collect();
    names.sort();
    let name = |name: &str| Some(format!("\"{name}\""));
    let expected = [
        ("200".to_owned(), name("first")),
        ("200".to_owned(), name("second")),
        ("401".to_owned(), None),
    ];
    assert_eq!(names, expected);
    for secret in [first.as_str(), second.as_str(), "tl_wrong"] {
        assert!(!exit.output().contains(secret), "the log has a key");
        assert!(
            !collector.everything().contains(secret),
            "the telemetry has a key"
        );
    }
    Ok(())
}
