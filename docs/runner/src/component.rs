//! What a page needs besides this repository: real servers and languages.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Result, bail};

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
