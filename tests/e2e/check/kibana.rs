//! A stand-in for Kibana: it says of rules what Kibana's reference says, and writes alerts as the
//! index connector of `deploy/elastic/connectors` does. A real Kibana is not part of the tests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use harness::send;
use serde_json::{Value, json};

/// Ids of the rules in `deploy/elastic/rules`.
const ERRORS: &str = "461d09a7-42ea-4e1c-8a8f-4afab2eae4a4";
const CONFIDENCE: &str = "c16b6faa-5cd8-4303-a971-567d6d0b22b7";

/// Starts it and returns its address. The rule for errors runs, and its alert is written when it is
/// asked for the second time; that for unsure predictions is active since long; that for latency
/// does not exist.
pub(super) fn start(elasticsearch: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let elasticsearch = elasticsearch.to_owned();
    alert(&elasticsearch, CONFIDENCE, &json!("2020-01-01T00:00:00Z"))?;
    std::thread::spawn(move || {
        let mut asked = BTreeMap::new();
        for stream in listener.incoming().map_while(std::result::Result::ok) {
            // A broken request fails the test by the outcome of the check.
            let _ = answer(stream, &elasticsearch, &mut asked);
        }
    });
    Ok(url)
}

fn answer(
    mut stream: TcpStream,
    elasticsearch: &str,
    asked: &mut BTreeMap<String, u32>,
) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().context("a request has a first line")??;
    while !lines.next().context("a head has an end")??.is_empty() {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let id = path.rsplit('/').next().unwrap_or_default();
    let times = asked.entry(id.to_owned()).or_default();
    *times += 1;
    let (status, body) = match id {
        ERRORS => {
            if *times == 2 {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
                alert(elasticsearch, ERRORS, &json!(now.as_millis() as u64))?;
            }
            ("200 OK", rule("ok"))
        }
        CONFIDENCE => ("200 OK", rule("active")),
        _ => (
            "404 Not Found",
            json!({"message": "Saved object not found"}),
        ),
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

fn rule(status: &str) -> Value {
    json!({"enabled": true, "execution_status": {"status": status}})
}

fn alert(elasticsearch: &str, rule: &str, time: &Value) -> Result<()> {
    let url = format!("{elasticsearch}/throughline-alerts/_doc?refresh=true");
    let document = json!({"rule": {"id": rule}, "@timestamp": time}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = send("POST", &url, &headers, document.as_bytes())?;
    anyhow::ensure!(answer.status == 201, "not written: {}", answer.text());
    Ok(())
}
