//! `deploy/elastic/apply.sh` against a stand-in that answers as Kibana's reference says: what the
//! script sends in two runs, and what it prints after a refusal. A real Kibana is not part of this
//! test.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::files::{objects, root};

const KEY: &str = "c2VjcmV0OnNlY3JldA==";

#[derive(Clone, Debug)]
struct Asked {
    method: String,
    path: String,
    /// Lower case.
    headers: Vec<String>,
    body: Value,
}

/// A server that keeps the requests and the objects that they made.
struct StandIn {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    /// A server that accepts only requests with `key`.
    fn start(key: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut held = BTreeSet::new();
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                // A broken request fails the test by the script's exit status.
                let _ = answer(stream, key, &mut held, &memory);
            }
        });
        Ok(Self { url, asked })
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("the stand-in does not panic"))
    }
}

fn answer(
    mut stream: TcpStream,
    key: &str,
    held: &mut BTreeSet<String>,
    memory: &Mutex<Vec<Asked>>,
) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let mut words = lines
        .first()
        .context("a request has a first line")?
        .split(' ');
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let authorized = lines.contains(&format!("Authorization: ApiKey {key}"));
    let headers: Vec<_> = lines[1..].iter().map(|line| line.to_lowercase()).collect();
    let length = headers
        .iter()
        .find_map(|header| header.strip_prefix("content-length: "))
        .unwrap_or("0")
        .parse()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let created = held.contains(&path);
    let (status, said) = match (method.as_str(), created) {
        _ if !authorized => (
            "401 Unauthorized",
            json!({"message": "unable to authenticate"}),
        ),
        ("POST", true) => ("409 Conflict", json!({"message": "version conflict"})),
        ("POST", false) => ("200 OK", json!({})),
        ("PUT", _) if created || path.contains("/dashboards/") => ("200 OK", json!({})),
        _ => ("404 Not Found", json!({"message": "not found"})),
    };
    if status == "200 OK" {
        held.insert(path.clone());
    }
    let asked = Asked {
        method,
        path,
        headers,
        body: serde_json::from_slice(&body)?,
    };
    memory.lock().expect("no test panics with it").push(asked);
    let said = said.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
        said.len()
    )?;
    Ok(())
}

fn apply(arguments: &[&str], env: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(root().join("deploy/elastic/apply.sh"));
    for variable in [
        "KIBANA_URL",
        "KIBANA_API_KEY",
        "KIBANA_API_KEY_FILE",
        "KIBANA_CA_FILE",
    ] {
        command.env_remove(variable);
    }
    Ok(command.args(arguments).envs(env.iter().copied()).output()?)
}

/// Both streams; the key is in neither.
fn said(output: &Output) -> String {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains(KEY), "the key is printed: {said}");
    said
}

fn without(object: &Value, fields: &[&str]) -> Value {
    let mut object = object.clone();
    for field in fields {
        object
            .as_object_mut()
            .expect("an object")
            .remove(*field)
            .expect("a field that every file has");
    }
    object
}

/// The expected requests of a first or a later run: method, path, body.
fn expected(first: bool) -> Result<Vec<(String, String, Value)>> {
    let kinds = [
        (
            "connectors",
            "/api/actions/connector",
            &["id", "connector_type_id"][..],
        ),
        (
            "rules",
            "/api/alerting/rule",
            &["id", "rule_type_id", "consumer", "enabled"][..],
        ),
    ];
    let mut requests = Vec::new();
    for (kind, at, fixed) in kinds {
        for object in objects(kind)?.values() {
            let path = format!("{at}/{}", object["id"].as_str().unwrap_or_default());
            requests.push(("POST".to_owned(), path.clone(), without(object, &["id"])));
            if !first {
                requests.push(("PUT".to_owned(), path, without(object, fixed)));
            }
        }
    }
    for object in objects("dashboards")?.values() {
        let path = format!(
            "/api/dashboards/{}",
            object["id"].as_str().unwrap_or_default()
        );
        requests.push(("PUT".to_owned(), path, without(object, &["id"])));
    }
    Ok(requests)
}

#[test]
#[ignore = "needs curl and jq, as .ci/components/with installs them"]
fn a_second_run_updates_what_the_first_created() -> Result<()> {
    let kibana = StandIn::start(KEY)?;
    for first in [true, false] {
        let output = apply(&[], &[("KIBANA_URL", &kibana.url), ("KIBANA_API_KEY", KEY)])?;
        assert!(output.status.success(), "{}", said(&output));
        let asked = kibana.asked();
        for request in &asked {
            for header in ["kbn-xsrf: true", "content-type: application/json"] {
                assert!(
                    request.headers.iter().any(|found| found == header),
                    "no {header} in {request:?}"
                );
            }
        }
        let asked: Vec<_> = asked
            .into_iter()
            .map(|asked| (asked.method, asked.path, asked.body))
            .collect();
        assert_eq!(asked, expected(first)?);
        assert_eq!(
            said(&output).lines().count(),
            objects("connectors")?.len() + objects("rules")?.len() + 1
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs curl and jq, as .ci/components/with installs them"]
fn the_key_may_come_from_a_file_and_a_refusal_stops_at_once() -> Result<()> {
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{KEY}\n"))?;
    let file = file.to_str().context("a plain name")?;
    let kibana = StandIn::start(KEY)?;
    let space = format!("{}/s/lab/", kibana.url);
    let output = apply(
        &[],
        &[("KIBANA_URL", &space), ("KIBANA_API_KEY_FILE", file)],
    )?;
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        kibana
            .asked()
            .iter()
            .all(|asked| asked.path.starts_with("/s/lab/api/"))
    );

    let other = StandIn::start("another-key")?;
    let output = apply(&[], &[("KIBANA_URL", &other.url), ("KIBANA_API_KEY", KEY)])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("answered 401: unable to authenticate"),
        "{}",
        said(&output)
    );
    assert_eq!(other.asked().len(), 1);
    Ok(())
}

#[test]
#[ignore = "needs curl and jq, as .ci/components/with installs them"]
fn a_dry_run_shows_everything_and_asks_nothing() -> Result<()> {
    let kibana = StandIn::start(KEY)?;
    for env in [
        &[][..],
        &[("KIBANA_URL", kibana.url.as_str()), ("KIBANA_API_KEY", KEY)][..],
    ] {
        let output = apply(&["--dry-run"], env)?;
        assert!(output.status.success(), "{}", said(&output));
        for (method, path, _) in expected(true)? {
            let shown = said(&output)
                .lines()
                .any(|line| line.starts_with(&method) && line.ends_with(&path));
            assert!(shown, "{method} {path} is not shown");
        }
    }
    assert_eq!(kibana.asked().len(), 0);
    Ok(())
}

#[test]
#[ignore = "needs curl and jq, as .ci/components/with installs them"]
fn what_is_missing_or_wrong_is_said() -> Result<()> {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[], "set KIBANA_URL"),
        (&[("KIBANA_URL", "localhost:5601")], "must start with http"),
        (
            &[("KIBANA_URL", "http://elastic:pw@localhost:5601")],
            "must not hold credentials",
        ),
        (
            &[("KIBANA_URL", "http://127.0.0.1:1")],
            "set KIBANA_API_KEY",
        ),
        (
            &[
                ("KIBANA_URL", "http://127.0.0.1:1"),
                ("KIBANA_API_KEY", "id:secret\""),
            ],
            "encoded form",
        ),
    ];
    for (env, reason) in cases {
        let output = apply(&[], env)?;
        assert_eq!(output.status.code(), Some(1), "{env:?}");
        assert!(said(&output).contains(reason), "{env:?}: {}", said(&output));
    }
    assert_eq!(apply(&["--help-me"], &[])?.status.code(), Some(2));
    Ok(())
}
