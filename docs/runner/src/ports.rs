//! Gives each page ports of its own: the page writes the default addresses, which are replaced before a block runs and put back into
//! what it prints.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};
use regex::{Captures, Regex};

use crate::page::Page;

/// The default ports, and the variables that set them: `P` is the port.
const DEFAULTS: [(u16, &[(&str, &str)]); 9] = [
    (
        8080,
        &[
            ("THROUGHLINE_GATEWAY_PORT", "P"),
            ("GATEWAY_LISTEN", "127.0.0.1:P"),
            ("GATEWAY_URL", "http://127.0.0.1:P"),
        ],
    ),
    (
        8000,
        &[
            ("THROUGHLINE_MODEL_SERVICE_PORT", "P"),
            ("MODEL_SERVICE_LISTEN", "127.0.0.1:P"),
            ("GATEWAY_MODEL_SERVICE", "http://127.0.0.1:P"),
        ],
    ),
    (8001, &[("THROUGHLINE_PYTHON_PORT", "P")]),
    (8002, &[("THROUGHLINE_ENCODER_PORT", "P")]),
    (
        6566,
        &[
            ("THROUGHLINE_FEATURE_STORE_PORT", "P"),
            ("FEATURE_STORE_LISTEN", "127.0.0.1:P"),
            ("FEATURE_STORE_URL", "http://127.0.0.1:P"),
        ],
    ),
    (
        4318,
        &[
            ("THROUGHLINE_OTLP_PORT", "P"),
            ("EXPLORER_OTLP_LISTEN", "127.0.0.1:P"),
        ],
    ),
    (
        8090,
        &[
            ("THROUGHLINE_EXPLORER_PORT", "P"),
            ("EXPLORER_LISTEN", "127.0.0.1:P"),
            ("EXPLORER_URL", "http://127.0.0.1:P"),
        ],
    ),
    (9001, &[]),
    (9002, &[]),
];

/// How a block writes an address or a port of this machine.
const ADDRESSES: &str = r"(\blocalhost:|\b127\.0\.0\.1:|\b0\.0\.0\.0:|-port[ =]|\bPORT=|_PORT=|\bhttp\.server )(\d{2,5})\b";

/// Below the ports that the system gives to outgoing connections, so that none of these takes one between its choice and its use.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// The ports of one page.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Default and real
    pairs: Vec<(u16, u16)>,
    variables: Vec<(String, String)>,
    addresses: Regex,
    printed: Regex,
}

impl Ports {
    pub(crate) fn of(page: &Page) -> Result<Self> {
        let (mut pairs, mut variables) = (Vec::new(), Vec::new());
        let components = page.needs.iter().flat_map(|component| component.ports());
        for (default, names) in DEFAULTS.iter().chain(components) {
            let known = pairs.iter().find(|(known, _)| known == default);
            let port = known.map_or_else(free, |(_, port)| Ok(*port))?;
            pairs.push((*default, port));
            let set = names
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.replace('P', &port.to_string())));
            variables.extend(set);
        }
        pairs.extend(
            page.needs
                .iter()
                .filter_map(|component| component.address()),
        );
        for (default, name) in &page.ports {
            let known = pairs.iter().find(|(known, _)| known == default);
            let port = known.map_or_else(free, |(_, port)| Ok(*port))?;
            pairs.push((*default, port));
            variables.extend(name.clone().map(|name| (name, port.to_string())));
        }
        for (default, port) in &pairs {
            variables.push((format!("DOCS_RUNNER_PORT_{default}"), port.to_string()));
        }
        Ok(Self {
            pairs,
            variables,
            addresses: Regex::new(ADDRESSES)?,
            printed: Regex::new(r"(:|[Pp]ort[ =])(\d{2,5})\b")?,
        })
    }

    /// The variables of the session.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.variables.iter();
        variables.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A block with the page's real addresses.
    pub(crate) fn real(&self, text: &str) -> String {
        self.replace(&self.addresses, text, |known, port| {
            (known.0 == port).then_some(known.1)
        })
    }

    /// What was printed, with the default ports.
    pub(crate) fn default(&self, text: &str) -> String {
        self.replace(&self.printed, text, |known, port| {
            (known.1 == port).then_some(known.0)
        })
    }

    fn replace(
        &self,
        pattern: &Regex,
        text: &str,
        other: impl Fn(&(u16, u16), u16) -> Option<u16>,
    ) -> String {
        let replaced = pattern.replace_all(text, |found: &Captures<'_>| {
            let port = found[2].parse().ok();
            let port = port.and_then(|port| self.pairs.iter().find_map(|pair| other(pair, port)));
            port.map_or_else(
                || found[0].to_owned(),
                |port| format!("{}{port}", &found[1]),
            )
        });
        replaced.into_owned()
    }
}

/// A port that nobody listens on, and that no other page of this run gets.
fn free() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = LAST - FIRST;
    for _ in 0..range {
        // Another runner on this machine begins elsewhere.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let begin = std::process::id().wrapping_mul(97) % u32::from(range);
        let offset = (begin + u32::from(step)) % u32::from(range);
        let port = FIRST + u16::try_from(offset)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port between {FIRST} and {LAST} is free")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_are_replaced_and_put_back() {
        let text = "<!-- docs-runner: port 9411 ZIPKIN_PORT -->\n";
        let ports = Ports::of(&Page::parse(Path::new("a.md"), text).unwrap()).unwrap();
        let block = "curl localhost:8080/v1 http://127.0.0.1:9411 example.org:8080 localhost:1";
        let real = ports.real(block);
        assert!(!real.contains("localhost:8080") && !real.contains("127.0.0.1:9411"));
        assert!(real.contains("example.org:8080") && real.contains("localhost:1"));
        assert_eq!(ports.default(&real), block);
        let variable = ports.variables().find(|(name, _)| *name == "ZIPKIN_PORT");
        assert!(real.contains(variable.unwrap().1));
        for block in [
            "serve --port 8000",
            "MODEL_PORT=8000 serve",
            "python3 -m http.server 8000",
        ] {
            assert!(!ports.real(block).contains("8000"), "{block}");
        }
    }
}
