//! A gateway whose clients need a certificate and a key: its own health check, and a caller.

use anyhow::{Context, Result};
use harness::{Authority, Process};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

#[test]
fn the_health_check_goes_over_mtls_and_a_key_is_asked_for_as_well() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path(), "authority")?;
    let identity = authority.issue("server")?;
    let keys = folder.path().join("keys.toml");
    let keys = keys.to_str().context("a plain name")?;
    let create = ["api-key", "create", "--name", "a", "--file", keys];
    let created = harness::command(GATEWAY).args(create).output()?;
    let key = String::from_utf8(created.stdout)?;
    let store = folder.path().join("predictions.db");
    let variables = [
        ("OTEL_SDK_DISABLED", "true"),
        ("THROUGHLINE_TLS_CERT", identity.certificate()),
        ("THROUGHLINE_TLS_KEY", identity.key()),
        ("THROUGHLINE_TLS_CLIENT_CA", authority.path()),
        ("GATEWAY_API_KEYS", keys),
    ];
    let args = [
        "--listen",
        "0.0.0.0:0",
        "--model-service",
        "http://127.0.0.1:9",
        "--prediction-store",
        store.to_str().context("a plain name")?,
        "--exit-with-parent",
    ];
    let mut gateway = Process::start(GATEWAY, &args, &variables)?;
    let url = gateway.url("server.listening")?;
    let url = url.replace("0.0.0.0", "127.0.0.1");
    let client = authority.client(Some(&authority.issue("client")?))?;
    let ask = |headers: &[(&str, &str)]| client.get(&format!("{url}/openapi.json"), headers);
    // The first exchange waits until the gateway answers.
    assert_eq!(ask(&[])?.status, 401);
    let bearer = format!("Bearer {}", key.trim_end());
    assert_eq!(ask(&[("authorization", &bearer)])?.status, 200);

    let port = url.rsplit(':').next().context("a port")?;
    let listen = format!("0.0.0.0:{port}");
    let healthcheck = |variables: &[(&str, &str)]| {
        let mut command = harness::command(GATEWAY);
        command.arg("healthcheck").env("GATEWAY_LISTEN", &listen);
        command.envs(variables.iter().copied()).output()
    };
    let checked = healthcheck(&variables)?;
    assert!(checked.status.success(), "{checked:?}");
    // Without the variables it asks over HTTP, and gets no answer.
    assert!(!healthcheck(&[])?.status.success());
    // A key and certificates of clients: nothing to warn of.
    let exit = gateway.stop()?;
    assert!(exit.success() && exit.events("server.exposed").is_empty());
    Ok(())
}
