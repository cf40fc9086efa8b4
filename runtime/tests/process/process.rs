//! The child process of a test, and requests to it, also such that no real client sends.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use harness::{Answer, Collector, Exit, MetricSeries, Process};

/// A probe that runs.
pub(crate) struct Probe {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Probe {
    /// Starts a probe with more variables and options, and waits until it listens.
    pub(crate) fn start(variables: &[(&str, &str)], options: &str) -> Self {
        let process = launch(variables, options);
        let url = process.url("server.listening").expect("it listens");
        let address = url.rsplit('/').next().unwrap_or_default().parse();
        Self {
            address: address.expect("a socket address"),
            process,
        }
    }

    /// A probe that exports to a collector.
    pub(crate) fn exporting(collector: &Collector, options: &str) -> Self {
        let endpoint = collector.endpoint();
        Self::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], options)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &[])
    }

    /// One request on a connection of its own; `start` is method and target.
    pub(crate) fn send(&self, start: &str, headers: &[(&str, &str)]) -> Answer {
        let mut socket = self.open(start, headers);
        Answer::read(&mut socket).expect("an answer")
    }

    /// Sends one request and leaves the answer to the caller.
    pub(crate) fn open(&self, start: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut head = format!(
            "{start} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let mut socket = self.connect();
        socket
            .write_all(format!("{head}\r\n").as_bytes())
            .expect("a request sent");
        socket
    }

    pub(crate) fn connect(&self) -> TcpStream {
        harness::connect(&format!("http://{}", self.address)).expect("a connection")
    }

    /// Waits for a log event.
    pub(crate) fn wait_event(&self, name: &str) {
        self.process.wait_event(name).expect("the event");
    }

    /// Waits until a log event was written this many times.
    pub(crate) fn wait_events(&self, name: &str, count: usize) {
        let seen = || self.process.output().matches(name).count();
        harness::wait_until(name, || seen() >= count);
    }

    /// Memory of the process (Linux).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.pid());
        let status = std::fs::read_to_string(path).expect("the state of the process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next());
        kilobytes.expect("a size").parse::<u64>().expect("a number") << 10
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name).expect("the process is there");
    }

    pub(crate) fn cut_lifeline(&mut self) {
        self.process.cut_lifeline();
    }

    /// Cuts the lifeline, so that the probe drains, and waits for its end.
    pub(crate) fn stop(mut self) -> Exit {
        self.process.stop().expect("it ends")
    }

    pub(crate) fn wait(mut self) -> Exit {
        self.process.wait().expect("it ends")
    }
}

/// Starts a probe that may not come up.
pub(crate) fn launch(variables: &[(&str, &str)], options: &str) -> Process {
    let program = std::env::current_exe().expect("this binary");
    let args = ["--exact", "probe::probe", "--ignored", "--nocapture"];
    let options = format!("--exit-with-parent {options}");
    let variables = [&[("PROBE", &*options)], variables].concat();
    Process::start(program, &args, &variables).expect("a child")
}

/// Trace id, span id and flags of `traceresponse`.
pub(crate) fn traceresponse(answer: &Answer) -> (String, String, String) {
    let value = answer.header("traceresponse");
    let value = value.unwrap_or_else(|| panic!("no traceresponse in {answer:?}"));
    let parts: Vec<&str> = value.split('-').collect();
    let ["00", trace, span, flags] = parts[..] else {
        panic!("{value}")
    };
    (trace.to_owned(), span.to_owned(), flags.to_owned())
}

/// The keys of the attributes of a metric's series.
pub(crate) fn keys(series: &MetricSeries) -> Vec<&str> {
    series.attributes.keys().map(String::as_str).collect()
}
