//! TLS of a listener: certificates, their renewal, certificates of clients, and clients that never
//! finish a handshake.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::Result;
use harness::{Authority, Collector, Identity, TlsClient, wait_until};
use tempfile::TempDir;

use crate::process::{Probe, launch};

const QUIET: (&str, &str) = ("OTEL_SDK_DISABLED", "true");

/// An authority with a folder for its files.
fn authority() -> Result<(TempDir, Authority)> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path(), "authority")?;
    Ok((folder, authority))
}

fn server(identity: &Identity) -> [(&str, &str); 2] {
    [
        ("THROUGHLINE_TLS_CERT", identity.certificate()),
        ("THROUGHLINE_TLS_KEY", identity.key()),
    ]
}

fn url(probe: &Probe, path: &str) -> String {
    format!("https://{}{path}", probe.address)
}

fn status(client: &TlsClient, probe: &Probe, path: &str) -> Option<u16> {
    let answer = client.get(&url(probe, path), &[]);
    answer.ok().map(|answer| answer.status)
}

#[test]
fn https_is_answered_and_http_is_not() -> Result<()> {
    let (_folder, authority) = authority()?;
    let identity = authority.issue("server")?;
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let variables = [
        &server(&identity)[..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)],
    ]
    .concat();
    let probe = Probe::start(&variables, "");
    let client = authority.client(None)?;
    let answer = client.get(&url(&probe, "/items/1"), &[])?;
    assert_eq!((answer.status, &*answer.text()), (200, "1"));
    assert_eq!(status(&client, &probe, "/livez"), Some(200));
    let mut plain = probe.connect();
    plain.write_all(b"GET /items/2 HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    assert_eq!(probe.stop().code, Some(0));
    let span = collector.span("GET /items/{id}");
    assert_eq!(span.attributes["url.scheme"], "https");
    let durations = collector.metric("http.server.request.duration");
    assert!(
        durations
            .iter()
            .all(|series| series.attributes["url.scheme"] == "https")
    );
    Ok(())
}

#[test]
fn a_renewed_certificate_counts_and_a_broken_one_does_not() -> Result<()> {
    let (folder, old) = authority()?;
    let identity = old.issue("server")?;
    let probe = Probe::start(&[QUIET, server(&identity)[0], server(&identity)[1]], "");
    let old_client = old.client(None)?;
    assert_eq!(status(&old_client, &probe, "/items/1"), Some(200));

    std::fs::write(&identity.key, "-----BEGIN NOTHING-----\n")?;
    probe.wait_event("tls.refused");
    let ready = old_client.get(&url(&probe, "/readyz"), &[])?;
    let detail = ready.json()["detail"]["tls"].to_string();
    assert_eq!(ready.status, 200);
    assert!(detail.contains("server.key"), "{detail}");

    let new = Authority::new(folder.path(), "new")?;
    new.issue("server")?;
    probe.wait_event("tls.changed");
    let new_client = new.client(None)?;
    assert_eq!(status(&new_client, &probe, "/items/1"), Some(200));
    assert_eq!(status(&old_client, &probe, "/items/1"), None);
    let ready = new_client.get(&url(&probe, "/readyz"), &[])?.json();
    assert_eq!(ready["detail"].get("tls"), None);
    assert_eq!(probe.stop().code, Some(0));
    Ok(())
}

#[test]
fn a_client_needs_a_certificate_of_the_authority_if_there_is_one() -> Result<()> {
    let (folder, authority) = authority()?;
    let identity = authority.issue("server")?;
    let client_authority = ("THROUGHLINE_TLS_CLIENT_CA", authority.path());
    let [certificate, key] = server(&identity);
    let probe = Probe::start(&[QUIET, certificate, key, client_authority], "");
    let known = authority.issue("client")?;
    let stranger = Authority::new(folder.path(), "stranger")?.issue("stranger")?;
    for (client, expected) in [
        (Some(&known), Some(200)),
        (None, None),
        (Some(&stranger), None),
    ] {
        let client = authority.client(client)?;
        for path in ["/items/1", "/livez"] {
            assert_eq!(status(&client, &probe, path), expected, "{path}");
        }
    }
    assert_eq!(probe.stop().code, Some(0));
    Ok(())
}

#[test]
fn a_handshake_that_never_ends_costs_nobody_else() -> Result<()> {
    let (_folder, authority) = authority()?;
    let identity = authority.issue("server")?;
    let [certificate, key] = server(&identity);
    let probe = Probe::start(
        &[QUIET, certificate, key],
        "--header-timeout 2s --max-connections 30",
    );
    let client = authority.client(None)?;
    // If one of them held up the others, the time limits together would be longer than the test waits.
    // A third says nothing, a third begins a handshake, a third speaks another protocol.
    let mut idle: Vec<TcpStream> = (0..60).map(|_| probe.connect()).collect();
    for (number, socket) in idle.iter_mut().enumerate() {
        match number % 3 {
            0 => {}
            1 => socket.write_all(&[0x16, 3, 1, 2, 0, 1])?,
            // It may be closed already.
            _ => drop(socket.write_all(b"SSH-2.0-scanner\r\n")),
        }
        if number % 10 == 0 {
            assert_eq!(status(&client, &probe, "/items/1"), Some(200), "{number}");
        }
    }
    // Every one of them is closed.
    for mut socket in idle {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert!(rest.len() < 100, "{rest:?}");
    }
    assert_eq!(status(&client, &probe, "/items/1"), Some(200));
    // A stop waits for no handshake.
    let _silent = probe.connect();
    assert_eq!(probe.stop().code, Some(0));
    Ok(())
}

#[test]
fn an_unread_answer_is_given_up_over_tls_as_well() -> Result<()> {
    let (_folder, authority) = authority()?;
    let identity = authority.issue("server")?;
    let [certificate, key] = server(&identity);
    let probe = Probe::start(&[QUIET, certificate, key], "--write-timeout 300ms");
    let client = authority.client(None)?;
    let _unread = client.open(&url(&probe, "/large"), &[])?;
    probe.wait_event("server.answer_unread");
    assert_eq!(status(&client, &probe, "/items/1"), Some(200));
    assert_eq!(probe.stop().code, Some(0));
    Ok(())
}

#[test]
fn wrong_files_end_the_start_with_their_names() -> Result<()> {
    let (folder, authority) = authority()?;
    let good = authority.issue("server")?;
    let other = authority.issue("other")?;
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "")?;
    let empty = empty.to_str().expect("a plain name");
    let absent = "/nowhere/server.pem";
    for (certificate, key, authority, expected) in [
        (
            absent,
            good.key(),
            authority.path(),
            "cannot read /nowhere/server.pem",
        ),
        (
            empty,
            good.key(),
            authority.path(),
            "empty.pem has no certificate",
        ),
        (
            good.certificate(),
            empty,
            authority.path(),
            "empty.pem has no private key",
        ),
        (
            good.certificate(),
            other.key(),
            authority.path(),
            "server.pem cannot be used",
        ),
        (
            good.certificate(),
            good.key(),
            empty,
            "empty.pem has no certificate",
        ),
    ] {
        let variables = [
            QUIET,
            ("THROUGHLINE_TLS_CERT", certificate),
            ("THROUGHLINE_TLS_KEY", key),
            ("THROUGHLINE_TLS_CLIENT_CA", authority),
        ];
        let exit = launch(&variables, "").wait()?;
        assert_ne!(exit.code, Some(0), "{expected}");
        assert!(
            exit.output().contains(expected),
            "{expected}: {}",
            exit.output()
        );
    }
    Ok(())
}

#[test]
fn a_part_calls_another_with_certificates_on_both_sides() -> Result<()> {
    let (_folder, authority) = authority()?;
    let identity = authority.issue("server")?;
    let [certificate, key] = server(&identity);
    let client_authority = ("THROUGHLINE_TLS_CLIENT_CA", authority.path());
    let service = Probe::start(&[QUIET, certificate, key, client_authority], "");
    let client = authority.issue("client")?;
    let trust = ("THROUGHLINE_TLS_CA", authority.path());
    let identity = [
        ("THROUGHLINE_TLS_CLIENT_CERT", client.certificate()),
        ("THROUGHLINE_TLS_CLIENT_KEY", client.key()),
    ];
    for (variables, expected) in [
        (vec![QUIET, trust, identity[0], identity[1]], "7"),
        // Without one's own certificate, and without trust in the other's.
        (vec![QUIET, trust], "connect_error|transport_error"),
        (vec![QUIET, identity[0], identity[1]], "connect_error"),
    ] {
        let caller = Probe::start(&variables, "");
        let answer = caller.get(&format!("/call?to={}", url(&service, "/items/7")));
        let text = answer.text();
        assert!(
            expected.split('|').any(|expected| expected == text),
            "{text}"
        );
        assert_eq!(caller.stop().code, Some(0));
    }
    assert_eq!(service.stop().code, Some(0));
    Ok(())
}

#[test]
fn telemetry_leaves_with_certificates_on_both_sides() -> Result<()> {
    let (_folder, authority) = authority()?;
    let identity = authority.issue("server")?;
    let collector = Collector::start_with(&[
        "--tls-cert",
        identity.certificate(),
        "--tls-key",
        identity.key(),
        "--tls-client-ca",
        authority.path(),
    ]);
    let endpoint = collector.endpoint().replace("http://", "https://");
    let client = authority.issue("client")?;
    let all = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.path()),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            client.certificate(),
        ),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", client.key()),
    ];
    // Without its own certificate, nothing arrives.
    for variables in [&all[..2], &all[..]] {
        let probe = Probe::start(variables, "");
        assert_eq!(probe.get("/items/1").status, 200);
        assert_eq!(probe.stop().code, Some(0));
    }
    wait_until("a log and a metric arrive", || {
        !collector.logs().is_empty() && !collector.metric_names().is_empty()
    });
    collector.span("GET /items/{id}");
    Ok(())
}
