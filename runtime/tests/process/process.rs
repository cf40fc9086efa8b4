//! The child process of a test, and a client that speaks HTTP/1.1 by hand so that it can also
//! misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a busy machine; nothing waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A probe that runs. Its standard input is its lifeline.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    lifeline: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// What became of it.
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<String>,
}

impl Process {
    /// Starts a probe with more environment and arguments, and waits until it listens.
    pub(crate) fn start(environment: &[(&str, &str)], arguments: &str) -> Self {
        let mut this = Self::launch(environment, arguments);
        let line = this.wait_for_event("server.listening");
        let url = line["url"]
            .as_str()
            .expect("an address")
            .trim_start_matches("http://")
            .to_owned();
        this.address = url.parse().expect("a socket address");
        this
    }

    /// Starts a probe that may not come up.
    pub(crate) fn launch(environment: &[(&str, &str)], arguments: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "probe::probe", "--ignored", "--nocapture"]);
        for (name, _) in std::env::vars()
            .filter(|(name, _)| name.starts_with("OTEL_") || name.starts_with("THROUGHLINE_"))
        {
            command.env_remove(name);
        }
        command
            .env("PROBE", format!("--exit-with-parent {arguments}"))
            .envs(environment.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let (lifeline, stdout) = (child.stdin.take(), child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
            lifeline,
            lines,
            seen: Vec::new(),
        }
    }

    /// The next log line with this event name.
    pub(crate) fn wait_for_event(&mut self, event: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no `{event}` in {:#?}", self.seen));
            let found = serde_json::from_str::<Value>(&line)
                .ok()
                .filter(|line| line["event.name"] == event);
            self.seen.push(line);
            if let Some(line) = found {
                return line;
            }
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &[])
    }

    /// One request on a connection of its own; `start` is method and path.
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
        let socket = TcpStream::connect(self.address).expect("a connection");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        socket
    }

    /// Memory of the process (Linux).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the state of the process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next());
        kilobytes.expect("a size").parse::<u64>().expect("a number") << 10
    }

    /// Ends the lifeline, so that the probe drains, and waits for its end.
    pub(crate) fn stop(mut self) -> Exit {
        self.cut_lifeline();
        self.wait()
    }

    pub(crate) fn cut_lifeline(&mut self) {
        self.lifeline = None;
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success(), "no process to send {name} to");
    }

    /// Waits for the end of the process and of its output.
    pub(crate) fn wait(mut self) -> Exit {
        let end = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("the process does not end: {:#?}", self.seen)
                }
            }
        }
        let code = self.child.wait().expect("an exit status").code();
        Exit {
            code,
            lines: std::mem::take(&mut self.seen),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After a failed assertion nothing must be left behind; a process that has ended already is
        // no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exit {
    /// All log lines with this event name.
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        let lines = self
            .lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event.name"] == event).collect()
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// Reads until the connection closes; `None` when it does so without a head.
    pub(crate) fn read(socket: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        // A reset is an end like any other here; what came before it counts.
        let _ = socket.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Some(Self {
            status,
            headers,
            body: body.to_owned(),
        })
    }

    /// Trace id, span id and flags of `traceresponse`.
    pub(crate) fn trace(&self) -> (String, String, String) {
        let value = self
            .headers
            .get("traceresponse")
            .unwrap_or_else(|| panic!("no traceresponse in {self:?}"));
        let parts: Vec<_> = value.split('-').map(str::to_owned).collect();
        assert_eq!((parts.len(), parts[0].as_str()), (4, "00"), "{value}");
        (parts[1].clone(), parts[2].clone(), parts[3].clone())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON in {self:?}"))
    }
}
