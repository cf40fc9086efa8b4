//! Passwords in addresses and variables: only the part that uses one has it, and nothing shows it.

use std::net::TcpListener;

use anyhow::{Context, Result};
use harness::{Collector, Process, send};
use tempfile::TempDir;

use crate::system::{path, start, up};

const SECRET: &str = "hunter2";

#[test]
fn only_the_gateway_gets_the_password_of_elasticsearch() -> Result<()> {
    let data = TempDir::new()?;
    let env = [
        ("ELASTICSEARCH_USERNAME", "elastic"),
        ("ELASTICSEARCH_PASSWORD", SECRET),
    ];
    let system = up(data.path(), &[], &env)?;
    system.wait_line("the addresses", |line| {
        line.starts_with("Try:").then_some(())
    })?;
    let mut users = Vec::new();
    let children = children(system.pid())?;
    for pid in &children {
        let environment = std::fs::read(format!("/proc/{pid}/environ"))?;
        if String::from_utf8_lossy(&environment).contains(SECRET) {
            let command = std::fs::read(format!("/proc/{pid}/cmdline"))?;
            users.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    assert_eq!(children.len(), 4, "{children:?}");
    assert_eq!(users.len(), 1, "{users:?}");
    assert!(users[0].contains(" gateway "), "{users:?}");
    Ok(())
}

/// The processes that a process has started and that still run.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // The name of a program may have spaces and brackets; state and parent come after it.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if rest
            .split(' ')
            .nth(1)
            .and_then(|parent| parent.parse().ok())
            == Some(parent)
        {
            children.push(pid);
        }
    }
    Ok(children)
}

#[test]
fn usage_errors_show_no_password() -> Result<()> {
    let address = format!("redis://user:{SECRET}@host");
    let model = format!("http://m:{SECRET}@host:port");
    let store = format!("ftp://m:{SECRET}@host");
    let ftp = format!("canary=ftp://m:{SECRET}@host");
    for args in [
        &["feature-store", &address][..],
        &["feature-store", "--listen", &address],
        &["gateway", &address],
        &["gateway", "--model-service", &model],
        &["gateway", "--model-service", &ftp],
        &["gateway", "--model-servce", &model],
        &["model-service", "--feature-store", &store],
        &["model-service", &address],
        &["explorer", &address],
        &[&*address],
    ] {
        let mut process = start(args, &[("OTEL_SDK_DISABLED", "true")])?;
        let status = process.wait()?;
        let said = process.output();
        assert!(!status.success(), "{args:?}: {said}");
        assert!(
            said.contains("error") && !said.contains(SECRET),
            "{args:?}: {said}"
        );
        // The rest of the message is still there.
        let flag = args.get(1).filter(|flag| flag.starts_with("--"));
        assert!(flag.is_none_or(|flag| said.contains(flag)), "{said}");
    }
    // Nor does the help, which shows the values of variables.
    for (part, variable) in [
        ("gateway", "GATEWAY_MODEL_SERVICE"),
        ("model-service", "FEATURE_STORE_URL"),
        ("variants", "GATEWAY_URL"),
        ("load", "GATEWAY_URL"),
        ("traces", "EXPLORER_URL"),
    ] {
        let mut help = start(
            &[part, "--help"],
            &[(variable, &format!("http://m:{SECRET}@host"))],
        )?;
        help.wait()?;
        let said = help.output();
        assert!(said.contains(variable) && !said.contains(SECRET), "{said}");
    }
    Ok(())
}

#[test]
fn commands_that_reach_nobody_show_no_password() -> Result<()> {
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let address = format!("http://m:{SECRET}@{dead}");
    for args in [
        &["variants", "--gateway", &address][..],
        &["sample", "--gateway", &address, "--wait", "1ms"],
        &["load", "--gateway", &address, "--duration", "1s"],
        &["check", "--gateway", &address, "--timeout", "1s"],
        &["traces", "--explorer", &address],
        &["trace", &"a".repeat(32), "--explorer", &address],
    ] {
        let mut command = start(args, &[])?;
        let status = command.wait()?;
        let said = command.output();
        assert!(!status.success(), "{args:?}: {said}");
        assert!(said.contains(&dead.to_string()), "{args:?}: {said}");
        assert!(!said.contains(SECRET), "{args:?}: {said}");
    }
    Ok(())
}

#[test]
fn the_password_of_a_dead_model_service_is_in_no_message() -> Result<()> {
    // A port that was just free: it refuses connections.
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let data = TempDir::new()?;
    let (store, routes) = (data.path().join("p.db"), data.path().join("routes.toml"));
    let address = format!("http://m:{SECRET}@{dead}");
    std::fs::write(
        &routes,
        format!(
            "[models.wine_quality]\n[[models.wine_quality.variants]]\nname = \"routed\"\nurl = \"{address}\"\nweight = 1\n"
        ),
    )?;
    let collector = Collector::start();
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("RUST_LOG", "debug".to_owned()),
        ("GATEWAY_MODEL_SERVICE", address),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let args = ["gateway", "--listen", "127.0.0.1:0", "--exit-with-parent"];
    let options = [
        "--prediction-store",
        path(&store),
        "--routes",
        path(&routes),
    ];
    let mut gateway = start(&[&args[..], &options].concat(), &env)?;
    let url = gateway.url("server.listening")?;
    let mut seen = String::new();
    for (method, call, body) in [
        (
            "POST",
            "/v1/predictions",
            r#"{"model":"wine_quality","data_ids":["a"]}"#,
        ),
        ("POST", "/v2/models/wine_quality/infer", "{}"),
        ("GET", "/v2/models/wine_quality", ""),
        ("GET", "/v1/models", ""),
        ("GET", "/readyz", ""),
    ] {
        let answer = send(method, &format!("{url}{call}"), &[], body.as_bytes())?;
        seen.push_str(&answer.text());
    }
    assert!(stop(&mut gateway)?, "{}", gateway.output());
    seen.push_str(&gateway.output());
    seen.push_str(&collector.everything());
    assert!(seen.contains("connect_error") && seen.contains(&dead.to_string()));
    let at = seen
        .find(SECRET)
        .map(|at| &seen[at.saturating_sub(300)..at]);
    assert_eq!(at, None);
    Ok(())
}

fn stop(process: &mut Process) -> Result<bool> {
    process.signal("INT")?;
    Ok(process.wait().context("it ends")?.success())
}
