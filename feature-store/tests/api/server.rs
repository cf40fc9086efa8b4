//! A feature store in this process, with a clock that stands still and a client that sends any
//! bytes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use feature_store::Config;
use feature_store::time::{Clock, EventTime, ManualClock};
use harness::Answer;
use runtime::{Shutdown, Trigger};
use serde_json::Value;
use telemetry::task;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running feature store; it stops when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) clock: ManualClock,
    folder: tempfile::TempDir,
    trigger: Option<Trigger>,
    running: Option<JoinHandle<Result<(), feature_store::Error>>>,
}

/// The clock's time at the start.
pub(crate) const NOW: &str = "2026-06-01T12:00:00Z";

/// One view of every dtype that lives an hour, one with two join keys, and two that share a push
/// source.
pub(crate) const VIEWS: &str = r#"
[[feature_view]]
name = "driver_stats"
join_keys = ["driver_id"]
ttl = "1h"
push_source = "driver_push"
features = [{ name = "conv_rate", dtype = "float64" }, { name = "trips", dtype = "int64" }]

[[feature_view]]
name = "driver_profile"
join_keys = ["driver_id"]
push_source = "driver_push"
features = [{ name = "trips", dtype = "int32" }, { name = "photo", dtype = "bytes" }]

[[feature_view]]
name = "routes"
join_keys = ["origin", "target"]
features = [{ name = "minutes", dtype = "float32" }, { name = "open", dtype = "bool" }, { name = "note", dtype = "string" }]

[[feature_service]]
name = "driver_service"
features = ["driver_profile:photo", "driver_stats"]
"#;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

impl Server {
    /// A server with [`VIEWS`] and an empty database.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more options of the command line.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("views.toml"), VIEWS).expect("the folder is writable");
        let (clock, hands) = Clock::manual(EventTime::parse(NOW).expect("a time"));
        let mut server = Self {
            address: ([127, 0, 0, 1], 0).into(),
            clock: hands,
            folder,
            trigger: None,
            running: None,
        };
        server.run(clock, options).await;
        server
    }

    /// Stops, and starts again on the same database with the clock where it was at first.
    pub(crate) async fn restart_with(&mut self, views: &str) {
        self.stop().await;
        std::fs::write(self.folder.path().join("views.toml"), views)
            .expect("the folder is writable");
        let (clock, hands) = Clock::manual(EventTime::parse(NOW).expect("a time"));
        self.clock = hands;
        self.run(clock, &[]).await;
    }

    /// Stops and waits for the end.
    pub(crate) async fn stop(&mut self) {
        self.trigger.take().expect("the server runs").stop();
        let running = self.running.take().expect("the server runs");
        running.await.expect("no panic").expect("the server drains");
    }

    /// Puts a file of views into the folder that a running server watches.
    pub(crate) fn declare(&self, file: &str, views: &str) {
        let folder = self.folder.path().join("feature-views");
        std::fs::create_dir_all(&folder).expect("the folder is writable");
        let hidden = folder.join(format!(".{file}"));
        std::fs::write(&hidden, views).expect("the folder is writable");
        std::fs::rename(hidden, folder.join(file)).expect("the folder is writable");
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("features.db")
    }

    async fn run(&mut self, clock: Clock, options: &[&str]) {
        let (database, views) = (self.database(), self.folder.path().join("views.toml"));
        let mut arguments = vec![
            "feature-store".as_ref(),
            "--database".as_ref(),
            database.as_os_str(),
        ];
        arguments.extend(["--feature-views".as_ref(), views.as_os_str()]);
        arguments.extend(options.iter().map(std::ffi::OsStr::new));
        let config = Arguments::parse_from(arguments).config;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        self.address = listener.local_addr().expect("it is bound");
        let (trigger, shutdown) = Shutdown::pair();
        self.trigger = Some(trigger);
        self.running = Some(task::spawn(feature_store::run_with_clock(
            config, clock, listener, shutdown,
        )));
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(
            &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
            b"",
        )
        .await
    }

    /// As Feast's old client does: no content type.
    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.post_with(path, "", body).await
    }

    /// `headers` are lines that end with CRLF.
    pub(crate) async fn post_with(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        self.send(&head, body).await
    }

    /// Sends these bytes on a new connection and reads until it is closed.
    pub(crate) async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the server listens");
        stream
            .write_all(head.as_bytes())
            .await
            .expect("the server reads");
        // A server that refuses a large body may close before it has all of it.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Answer::read(&mut &answer[..]).expect("an HTTP answer")
    }

    /// The answer to a lookup that must succeed.
    pub(crate) async fn lookup(&self, request: Value) -> Value {
        let reply = self
            .post("/get-online-features", request.to_string().as_bytes())
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// A write that must succeed.
    pub(crate) async fn write(&self, view: &str, df: Value) {
        let body = serde_json::json!({"feature_view_name": view, "df": df});
        let reply = self
            .post("/write-to-online-store", body.to_string().as_bytes())
            .await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "null"));
    }
}
