//! Trace context and baggage, as both model services read them and pass them on to the feature
//! store. Where the Python worker differs is written in docs/model-services.md.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result, ensure};
use harness::{DEADLINE, Process};
use serde_json::json;

use crate::propagation::reads_the_cases_of_the_w3c;
use crate::system::{PythonSystem, path, python_environment, start};
use crate::w3c;

/// Lists that `opentelemetry` for Python drops, because it reads keys by level 1 and takes none
/// twice.
const DROPPED_STATES: [&str; 7] = [
    "a key twice",
    "a key on two lines",
    "nothing after the at sign",
    "two at signs",
    "two vendors",
    "a longer key with a vendor",
    "a vendor of 15",
];

/// Baggage: its lines, what Rust passes on, and what Python does if that differs.
type Baggage = (
    &'static [&'static str],
    &'static [&'static str],
    Option<&'static [&'static str]>,
);

const BAGGAGE: &[Baggage] = &[
    (&["a=1"], &["a=1"], None),
    (&["a=1,b=2", "c=3"], &["a=1", "b=2", "c=3"], None),
    (&[" a = 1 ,, \tb=2"], &["a=1", "b=2"], None),
    (
        &["a=1,b", "=2,c=x\"y,d=4,e e=5,f=a b"],
        &["a=1", "d=4"],
        None,
    ),
    (&["a=1,a=2"], &["a=2"], None),
    (&["a="], &["a="], None),
    // The encoding of HTML forms, which the other services do not read.
    (&["a=b+c"], &["a=b+c"], Some(&["a=b%2Bc"])),
    (&["a=b%20c"], &["a=b%20c"], Some(&["a=b+c"])),
    (&["a!b=c:d"], &["a!b=c:d"], Some(&["a%21b=c%3Ad"])),
    // No place for properties.
    (
        &["a=1;p=2;q,b=2"],
        &["a=1;p=2;q", "b=2"],
        Some(&["a=1", "b=2"]),
    ),
];

/// In place of the feature store: takes each request and answers 503.
struct Recorder {
    url: String,
    heads: Receiver<Vec<String>>,
}

impl Recorder {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let (sender, heads) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that breaks off is a failure of the request that waits for its head.
                let _ = record(&stream, &sender);
            }
        });
        Ok(Self { url, heads })
    }

    /// The values of a header in the next request.
    fn next(&self) -> Result<Vec<String>> {
        self.heads.recv_timeout(DEADLINE).context("no lookup")
    }
}

fn record(stream: &TcpStream, heads: &Sender<Vec<String>>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut lines, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = header(&line, "content-length") {
            length = value.parse()?;
        }
        lines.push(line);
    }
    reader.read_exact(&mut vec![0; length])?;
    let mut stream = stream;
    stream.write_all(
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    )?;
    heads.send(lines)?;
    Ok(())
}

fn header<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim())
}

fn values<'a>(lines: &'a [String], name: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| header(line, name)).collect()
}

/// What a service passes on for these headers.
fn passed_on(service: &str, recorder: &Recorder, headers: &[(&str, &str)]) -> Result<Vec<String>> {
    let body = json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["wine-0001"]}]});
    let url = format!("{service}/v2/models/wine_quality/infer");
    let answer = harness::send("POST", &url, headers, body.to_string().as_bytes())?;
    ensure!(answer.status == 503, "{answer:?}");
    recorder.next()
}

/// One service with a recorder for its feature store.
struct Service {
    _process: Process,
    url: String,
    recorder: Recorder,
    python: bool,
}

impl Service {
    fn rust(models: &Path) -> Result<Self> {
        let recorder = Recorder::start()?;
        let arguments = options(models, &recorder);
        let mut all = vec!["model-service"];
        all.extend(arguments.iter().map(String::as_str));
        let process = start(&all, &[("OTEL_TRACES_EXPORTER", "none")])?;
        Self::listening(process, recorder, false)
    }

    fn python(models: &Path) -> Result<Self> {
        let recorder = Recorder::start()?;
        let bin = python_environment().join("bin");
        let python = bin.join("python");
        let arguments = options(models, &recorder);
        let mut all = vec![path(&python), "-m", "throughline_worker"];
        all.extend(arguments.iter().map(String::as_str));
        let process = Process::start(
            path(&bin.join("opentelemetry-instrument")),
            &all,
            &[
                ("OTEL_PROPAGATORS", "tracecontext,baggage"),
                ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
                ("OTEL_TRACES_EXPORTER", "none"),
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_LOGS_EXPORTER", "none"),
                ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "otel"),
            ],
        )?;
        Self::listening(process, recorder, true)
    }

    fn listening(process: Process, recorder: Recorder, python: bool) -> Result<Self> {
        let event = process.wait_event("server.listening")?;
        let url = event["url"].as_str().context("an address")?.to_owned();
        Ok(Self {
            _process: process,
            url,
            recorder,
            python,
        })
    }

    fn passed_on(&self, headers: &[(&str, &str)]) -> Result<Vec<String>> {
        passed_on(&self.url, &self.recorder, headers)
    }
}

fn options(models: &Path, recorder: &Recorder) -> Vec<String> {
    [
        "--listen",
        "127.0.0.1:0",
        "--model-repository",
        path(models),
        "--feature-store",
        &recorder.url,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn both() -> Result<[Service; 2]> {
    // The program writes the worker's files into the environment when it starts a worker.
    let models = PythonSystem::shared().data.join("models");
    Ok([Service::rust(&models)?, Service::python(&models)?])
}

#[test]
fn the_worker_reads_the_cases_of_the_w3c_as_the_other_services_do() -> Result<()> {
    let system = PythonSystem::shared();
    reads_the_cases_of_the_w3c("model-service-python", &system.urls.worker)
}

#[test]
fn both_pass_the_same_trace_context_on() -> Result<()> {
    for service in both()? {
        for case in w3c::cases() {
            let headers: Vec<_> = case
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let lines = service.passed_on(&headers)?;
            let what = format!("python: {}, {}: {lines:?}", service.python, case.name);
            let parents = values(&lines, "traceparent");
            let [parent] = parents[..] else {
                panic!("{what}");
            };
            let parts: Vec<_> = parent.split('-').collect();
            let flags = (parts[1] == w3c::TRACE).then_some(parts[3]);
            assert_eq!(flags, case.continues, "{what}");
            let dropped = service.python && DROPPED_STATES.contains(&&*case.name);
            let expected = case.state.as_deref().filter(|_| !dropped);
            let states = values(&lines, "tracestate");
            assert_eq!(states, Vec::from_iter(expected), "{what}");
        }
    }
    Ok(())
}

#[test]
fn both_pass_the_same_baggage_on() -> Result<()> {
    let members = |list: &str| -> BTreeSet<String> {
        list.split(',')
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    };
    for service in both()? {
        for (lines, rust, python) in BAGGAGE {
            let headers: Vec<_> = lines.iter().map(|line| ("baggage", *line)).collect();
            let sent = service.passed_on(&headers)?;
            let expected = python.filter(|_| service.python).unwrap_or(rust);
            let found = members(&values(&sent, "baggage").join(","));
            let expected: BTreeSet<String> =
                expected.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(found, expected, "python: {}, {lines:?}", service.python);
        }
        // The limits of W3C Baggage, over all lines.
        let many: Vec<String> = (0..100).map(|number| format!("k{number}=v")).collect();
        let two = [many[..50].join(","), many[50..].join(",")];
        let headers = [("baggage", two[0].as_str()), ("baggage", two[1].as_str())];
        let sent = service.passed_on(&headers)?;
        let found = members(&values(&sent, "baggage").join(","));
        assert_eq!(found, many[..64].iter().cloned().collect());
        let long = format!("a={}", "x".repeat(4_000));
        let (b, c) = (long.replace('a', "b"), long.replace('a', "c"));
        let headers = [("baggage", &*long), ("baggage", &*b), ("baggage", &*c)];
        let sent = service.passed_on(&headers)?;
        let found = members(&values(&sent, "baggage").join(","));
        assert_eq!(found, BTreeSet::from([long, b]));
    }
    Ok(())
}
