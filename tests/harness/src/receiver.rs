//! A receiver of webhooks on a free port: it keeps what is posted and answers as the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde_json::Value;

/// It stops when this is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Post {
    /// Method and path.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    /// Heads of the answers to come, the next one last; then every answer is 204.
    answers: Mutex<Vec<String>>,
    posts: Mutex<Vec<Post>>,
    stop: Mutex<bool>,
}

impl Receiver {
    /// A receiver that first answers with these status lines and headers, such as
    /// `503 Service Unavailable`.
    pub fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        *shared.answers.lock() = answers.iter().rev().map(|&text| text.to_owned()).collect();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if *of_thread.stop.lock() {
                    return;
                }
                // A client that breaks off is a matter of the client.
                let _ = serve(&socket, &of_thread);
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was posted so far.
    pub fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        *self.shared.stop.lock() = true;
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Post {
    /// The value of a header, which must be there.
    pub fn header(&self, name: &str) -> Result<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(header, _)| header == name);
        let (_, value) = found.with_context(|| format!("no {name} in {:?}", self.headers))?;
        Ok(value)
    }

    pub fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

fn serve(socket: &TcpStream, shared: &Shared) -> Result<()> {
    let mut reader = BufReader::new(socket);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let headers = head.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut lengths = headers.iter();
    let length = lengths.find(|(name, _)| name == "content-length");
    let length = length.map_or(Ok(0), |(_, value)| value.parse())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let line = head.first().cloned().unwrap_or_default();
    let answer = shared.answers.lock().pop();
    let answer = answer.unwrap_or_else(|| "204 No Content".to_owned());
    shared.posts.lock().push(Post {
        line,
        headers,
        body,
    });
    let end = "content-length: 0\r\nconnection: close\r\n\r\n";
    let mut socket = socket;
    socket.write_all(format!("HTTP/1.1 {answer}\r\n{end}").as_bytes())?;
    Ok(())
}
