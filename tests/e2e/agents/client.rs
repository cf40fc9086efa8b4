//! A client of the Model Context Protocol: a JSON-RPC message for each line, on the standard input and
//! output of the server (<https://modelcontextprotocol.io/specification>, "Transports", stdio).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::system::PROGRAM;

/// An agent with its server.
pub(super) struct Agent {
    server: Child,
    to_server: ChildStdin,
    from_server: BufReader<ChildStdout>,
    messages: u64,
    calls: usize,
}

impl Agent {
    pub(super) fn start(explorer: &str, gateway: &str) -> Result<Self> {
        let mut server = harness::command(PROGRAM)
            .args(["mcp", "--explorer", explorer, "--gateway", gateway])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to_server = server.stdin.take().context("standard input")?;
        let from_server = BufReader::new(server.stdout.take().context("standard output")?);
        let mut agent = Self {
            server,
            to_server,
            from_server,
            messages: 0,
            calls: 0,
        };
        let us = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
        let server = agent.request("initialize", &us)?;
        assert_eq!(server["serverInfo"]["name"], "throughline", "{server}");
        agent.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(agent)
    }

    /// Tool calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// The text of a tool that succeeds.
    pub(super) fn call(&mut self, tool: &str, arguments: &Value) -> Result<String> {
        let (text, is_error) = self.tool(tool, arguments)?;
        if is_error {
            bail!("{tool} {arguments}: {text}");
        }
        Ok(text.trim_end().to_owned())
    }

    /// The text of a tool that fails.
    pub(super) fn refused(&mut self, tool: &str, arguments: &Value) -> Result<String> {
        let (text, is_error) = self.tool(tool, arguments)?;
        assert!(is_error, "{tool} {arguments}: {text}");
        Ok(text)
    }

    fn tool(&mut self, tool: &str, arguments: &Value) -> Result<(String, bool)> {
        self.calls += 1;
        let call = json!({"name": tool, "arguments": arguments});
        let result = self.request("tools/call", &call)?;
        let text = result["content"][0]["text"].as_str();
        let text = text.with_context(|| result.to_string())?;
        // The bound of an answer, with its last line.
        assert!(text.len() <= 25 * 1024, "{tool}: {} bytes", text.len());
        Ok((text.to_owned(), result["isError"] == true))
    }

    /// The result of a request.
    pub(super) fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.messages += 1;
        self.send(
            &json!({"jsonrpc": "2.0", "id": self.messages, "method": method, "params": params}),
        )?;
        loop {
            let mut line = String::new();
            if self.from_server.read_line(&mut line)? == 0 {
                bail!("the server ended in the middle of {method}");
            }
            let mut message: Value = serde_json::from_str(&line)?;
            if message["id"] == self.messages {
                if !message["error"].is_null() {
                    bail!("{method}: {}", message["error"]);
                }
                return Ok(message["result"].take());
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        writeln!(self.to_server, "{message}")?;
        Ok(self.to_server.flush()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
