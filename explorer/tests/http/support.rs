//! A running explorer on ports of its own, and a client small enough to send anything.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure to report"
)]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Parser;
use explorer::Config;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use runtime::{Shutdown, Trigger};
use serde_json::Value;
use tokio::net::TcpListener;

pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// Stops with the test.
pub(crate) struct Explorer {
    pub(crate) page: SocketAddr,
    pub(crate) otlp: SocketAddr,
    trigger: Option<Trigger>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

impl Explorer {
    pub(crate) fn start(arguments: &[&str]) -> Explorer {
        let config = Cli::parse_from([&["explorer"], arguments].concat()).config;
        let (trigger, shutdown) = Shutdown::pair();
        let (sender, addresses) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let [page, otlp] = [
                    TcpListener::bind("127.0.0.1:0").await,
                    TcpListener::bind("127.0.0.1:0").await,
                ];
                let (page, otlp) = (page.unwrap(), otlp.unwrap());
                sender
                    .send((page.local_addr().unwrap(), otlp.local_addr().unwrap()))
                    .unwrap();
                explorer::Explorer::new(config)
                    .serve(page, otlp, shutdown)
                    .await
                    .unwrap();
            });
        });
        let (page, otlp) = addresses.recv().unwrap();
        Explorer {
            page,
            otlp,
            trigger: Some(trigger),
            thread: Some(thread),
        }
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        send(self.otlp, "POST", path, headers, body)
    }

    pub(crate) fn spans(&self, service: &str, spans: Vec<Span>) -> Answer {
        self.post(
            "/v1/traces",
            &[PROTOBUF],
            &prost::Message::encode_to_vec(&request(service, spans)),
        )
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send(self.page, "GET", path, &[], &[])
    }

    /// The JSON of an answer that must be 200.
    pub(crate) fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        drop(self.trigger.take());
        // A panic there is a panic here, unless this one is on its way out already.
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }
}

/// One request on a connection of its own. Written by hand, since a real client would refuse to send half of these.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|(name, _)| *name == "host") {
        let _ = write!(head, "host: {address}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    // A server that refuses a body may close before it has all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut chunk = [0; 16_384];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            // Reset after the answer, because of the unread rest of the body.
            Err(error)
                if !answer.is_empty() && error.kind() == std::io::ErrorKind::ConnectionReset =>
            {
                break;
            }
            Err(error) => panic!("no answer to {method} {path}: {error}"),
        }
        assert!(
            Instant::now() < deadline,
            "the answer to {method} {path} does not end"
        );
    }
    let split = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("an HTTP answer");
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    Answer {
        status,
        head,
        body: answer[split + 4..].to_vec(),
    }
}

pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let value = AnyValue {
        value: Some(Any::StringValue(service.to_owned())),
    };
    let name = KeyValue {
        key: "service.name".to_owned(),
        value: Some(value),
        ..KeyValue::default()
    };
    let resource = Resource {
        attributes: vec![name],
        ..Resource::default()
    };
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans,
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
}

pub(crate) fn span(trace: u64, id: u64, parent: u64) -> Span {
    let mut trace_id = vec![7; 8];
    trace_id.extend(trace.to_be_bytes());
    Span {
        trace_id,
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: format!("span {id}"),
        kind: 1,
        start_time_unix_nano: 1_760_000_000_000_000_000 + trace * 1_000_000 + id,
        end_time_unix_nano: 1_760_000_000_000_000_000 + trace * 1_000_000 + id + 500_000,
        ..Span::default()
    }
}

/// The hex id of `span(trace, ..)`.
pub(crate) fn trace_hex(trace: u64) -> String {
    format!("0707070707070707{trace:016x}")
}
