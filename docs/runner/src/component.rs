//! What a page needs besides this repository: real servers and languages.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Result, bail, ensure};

/// Something that a page needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Component {
    Elasticsearch,
    Collector,
    Jaeger,
    Redis,
    Python,
    Go,
}

impl FromStr for Component {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "elasticsearch" => Self::Elasticsearch,
            "collector" => Self::Collector,
            "jaeger" => Self::Jaeger,
            "redis" => Self::Redis,
            "python" => Self::Python,
            "go" => Self::Go,
            _ => bail!(
                "there is no component {name}: elasticsearch, collector, jaeger, redis, python, go"
            ),
        })
    }
}

impl Component {
    /// Why it cannot be used here.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::Python => (!answers("python3", "--version")).then(|| "no python3".to_owned()),
            Self::Go => (!answers("go", "version")).then(|| "no go".to_owned()),
            _ => {
                let variable = self.variable()?;
                std::env::var_os(variable)
                    .is_none()
                    .then(|| format!("{variable} is not set (see .ci/components/with)"))
            }
        }
    }

    /// The port of its default address, and that of the one which is running.
    pub(crate) fn address(self) -> Option<(u16, u16)> {
        let default = match self {
            Self::Elasticsearch => 9200,
            Self::Redis => 6379,
            _ => return None,
        };
        let url = std::env::var(self.variable()?).ok()?;
        let port = url.trim_end_matches('/').rsplit(':').next()?.parse().ok()?;
        Some((default, port))
    }

    /// The default ports on which it listens when a page starts it, and their variables: `P` is the port. They are those of
    /// `deploy/collector`.
    pub(crate) fn ports(self) -> &'static [(u16, &'static [(&'static str, &'static str)])] {
        match self {
            Self::Collector => &[
                (4317, &[("OTLP_GRPC_ENDPOINT", "127.0.0.1:P")]),
                (4318, &[("OTLP_HTTP_ENDPOINT", "127.0.0.1:P")]),
                (8888, &[("COLLECTOR_METRICS_PORT", "P")]),
                (9464, &[("PROMETHEUS_ENDPOINT", "127.0.0.1:P")]),
                (13133, &[("HEALTH_ENDPOINT", "127.0.0.1:P")]),
            ],
            Self::Jaeger => &[
                (14317, &[("JAEGER_OTLP_GRPC_ENDPOINT", "127.0.0.1:P")]),
                (
                    14318,
                    &[
                        ("JAEGER_OTLP_HTTP_ENDPOINT", "127.0.0.1:P"),
                        ("JAEGER_OTLP_ENDPOINT", "http://127.0.0.1:P"),
                        ("BACKEND_OTLP_ENDPOINT", "http://127.0.0.1:P"),
                    ],
                ),
                (14133, &[("JAEGER_HEALTH_ENDPOINT", "127.0.0.1:P")]),
                (16685, &[("JAEGER_QUERY_GRPC_ENDPOINT", "127.0.0.1:P")]),
                (16686, &[("JAEGER_QUERY_ENDPOINT", "127.0.0.1:P")]),
            ],
            _ => &[],
        }
    }

    /// The name and path of a program that a page calls.
    pub(crate) fn program(self) -> Option<(&'static str, PathBuf)> {
        let name = match self {
            Self::Collector => "otelcol",
            Self::Jaeger => "jaeger",
            _ => return None,
        };
        Some((name, std::env::var_os(self.variable()?)?.into()))
    }

    /// Whether pages use one server together, so that only one of them can run at a time.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Elasticsearch | Self::Redis)
    }

    /// Forgets the predictions and features of the page before in a server that pages share: a reader's own one is empty, too.
    pub(crate) fn empty(self) -> Result<()> {
        let Some((_, port)) = self.address() else {
            return Ok(());
        };
        match self {
            Self::Elasticsearch => {
                // Telemetry may stay: pages look for traces of their own.
                let index = "predictions-v1?ignore_unavailable=true";
                let url = format!("http://127.0.0.1:{port}/{index}");
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--show-error", "--fail", "--request", "DELETE"]);
                let output = curl.arg(&url).output()?;
                let why = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "DELETE {url}: {}", why.trim());
            }
            Self::Redis => {
                let mut redis = TcpStream::connect(("127.0.0.1", port))?;
                redis.write_all(b"FLUSHALL\r\n")?;
                let mut answer = [0; 5];
                redis.read_exact(&mut answer)?;
                ensure!(&answer == b"+OK\r\n", "Redis refuses FLUSHALL");
            }
            _ => {}
        }
        Ok(())
    }

    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Elasticsearch => Some("THROUGHLINE_TEST_ELASTICSEARCH_URL"),
            Self::Collector => Some("THROUGHLINE_TEST_COLLECTOR"),
            Self::Jaeger => Some("THROUGHLINE_TEST_JAEGER"),
            Self::Redis => Some("THROUGHLINE_TEST_REDIS_URL"),
            Self::Python | Self::Go => None,
        }
    }
}

fn answers(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
