//! What containers need of the programs: a health check without a shell, the commit of the image,
//! and a sample that can be sent to any deployment.

use anyhow::{Context, Result};
use harness::eventually;
use http::StatusCode;

use crate::system::{System, start};

/// A command that has ended: whether it succeeded, and what it said.
fn run(args: &[&str], variables: &[(&str, &str)]) -> Result<(bool, String)> {
    let mut process = start(args, variables)?;
    let status = process.wait()?;
    Ok((status.success(), process.output()))
}

fn address(url: &str) -> &str {
    url.trim_start_matches("http://")
}

#[test]
fn healthcheck_tells_whether_each_part_is_ready() -> Result<()> {
    let mut system = System::start()?;
    let urls = system.urls.clone();
    // By the variable that the container has anyway, and by the flag.
    let parts = [
        ("gateway", "GATEWAY_LISTEN", &urls.gateway),
        ("model-service", "MODEL_SERVICE_LISTEN", &urls.model_service),
        ("feature-store", "FEATURE_STORE_LISTEN", &urls.feature_store),
        ("explorer", "EXPLORER_LISTEN", &urls.explorer),
    ];
    for (part, variable, url) in parts {
        let (ready, said) = run(&[part, "healthcheck"], &[(variable, address(url))])?;
        assert!(ready && said.contains(r#""ready":true"#), "{part}: {said}");
    }
    let by_flag = ["gateway", "healthcheck", "--url", &urls.gateway];
    assert!(run(&by_flag, &[])?.0);

    // All addresses include loopback.
    let port = urls.gateway.rsplit(':').next().context("a port")?;
    let everywhere = format!("0.0.0.0:{port}");
    assert!(
        run(
            &["gateway", "healthcheck"],
            &[("GATEWAY_LISTEN", &everywhere)]
        )?
        .0
    );

    system.gateway.stop()?;
    let (ready, said) = run(&by_flag, &[])?;
    assert!(!ready && said.contains("gateway is not ready"), "{said}");
    assert!(said.contains(address(&urls.gateway)), "{said}");
    Ok(())
}

#[test]
fn a_model_service_without_a_model_is_not_healthy() -> Result<()> {
    let empty = tempfile::TempDir::new()?;
    let repository = empty.path().to_str().context("a plain name")?;
    let service = start(
        &[
            "model-service",
            "--listen",
            "127.0.0.1:0",
            "--exit-with-parent",
        ],
        &[("MODEL_REPOSITORY", repository)],
    )?;
    let url = service.url("server.listening")?;
    let (ready, said) = run(&["model-service", "healthcheck", "--url", &url], &[])?;
    assert!(!ready && said.contains("503"), "{said}");
    Ok(())
}

#[test]
fn sample_prints_both_traces_of_any_deployment() -> Result<()> {
    let system = System::start()?;
    let urls = &system.urls;
    let sample = [
        "sample",
        "--gateway",
        &urls.gateway,
        "--explorer",
        &urls.explorer,
    ];
    for time in ["first", "second", "when all is stored"] {
        if time == "when all is stored" {
            let wines: Vec<_> = (1..=1599).map(|row| format!("wine-{row:04}")).collect();
            for batch in wines.chunks(800) {
                let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
                assert_eq!(system.predict(&batch)?.status, StatusCode::OK);
            }
        }
        let (complete, said) = run(&sample, &[])?;
        assert!(complete, "{time}: {said}");
        for expected in [
            "A miss: computed by the model",
            "A hit: from the prediction store",
            "layer linear_3",
            "POST /get-online-features",
        ] {
            assert!(said.contains(expected), "{time}, no {expected}: {said}");
        }
    }
    let (complete, said) = run(
        &["sample", "--gateway", &urls.gateway, "--no-explorer"],
        &[],
    )?;
    assert!(complete && said.contains("its trace "), "{said}");
    Ok(())
}

#[test]
fn sample_says_what_a_deployment_lacks() -> Result<()> {
    let system = System::start()?;
    let wanted = [
        "sample",
        "--gateway",
        &system.urls.gateway,
        "--canary",
        "--wait",
        "1ms",
    ];
    let (complete, said) = run(&wanted, &[])?;
    assert!(!complete && said.contains("no variant canary"), "{said}");

    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let gateway = format!("http://{nowhere}");
    let (complete, said) = run(&["sample", "--gateway", &gateway, "--wait", "1ms"], &[])?;
    assert!(
        !complete && said.contains("the gateway does not answer"),
        "{said}"
    );
    Ok(())
}

#[test]
fn the_commit_of_an_image_is_in_the_resource() -> Result<()> {
    let system = System::start_with(&[("THROUGHLINE_REVISION", "0123abc")])?;
    let sample = ["sample", "--gateway", &system.urls.gateway, "--no-explorer"];
    assert!(run(&sample, &[])?.0);
    let explorer = &system.urls.explorer;
    let trace = eventually("a trace of the gateway", || {
        let list = system.get(&format!("{explorer}/api/traces?service=gateway&limit=1"))?;
        let Some(id) = list.body["traces"][0]["trace_id"].as_str() else {
            return Ok(None);
        };
        let trace = system.get(&format!("{explorer}/api/traces/{id}"))?;
        Ok(Some(trace.body.to_string()))
    })?;
    assert!(
        trace.contains("vcs.ref.head.revision") && trace.contains("0123abc"),
        "{trace}"
    );
    Ok(())
}
