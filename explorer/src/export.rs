//! A trace as a file: for other tools, and for people without the explorer.

mod html;
mod perfetto;

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

pub use html::html;
pub use perfetto::perfetto;

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Chrome trace JSON, which Perfetto opens.
    Perfetto,
    /// One page that needs nothing else.
    Html,
    /// OTLP/JSON, which any OpenTelemetry tool reads.
    Otlp,
}

impl Format {
    pub const ALL: [Format; 3] = [Format::Perfetto, Format::Html, Format::Otlp];

    pub fn extension(self) -> &'static str {
        match self {
            Format::Perfetto => "perfetto.json",
            Format::Html => "html",
            Format::Otlp => "otlp.json",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Perfetto | Format::Otlp => "application/json",
            Format::Html => "text/html; charset=utf-8",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Format::Perfetto => "perfetto",
            Format::Html => "html",
            Format::Otlp => "otlp",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        Format::ALL
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| "the format must be perfetto, html or otlp".to_owned())
    }
}

/// One OTLP/JSON document from all pages of a trace.
pub fn otlp<'a>(pages: impl IntoIterator<Item = &'a [u8]>) -> Result<Value, serde_json::Error> {
    let mut resource_spans = Vec::new();
    for page in pages {
        let mut page: Value = serde_json::from_slice(page)?;
        if let Value::Array(list) = page["resourceSpans"].take() {
            resource_spans.extend(list);
        }
    }
    Ok(json!({ "resourceSpans": resource_spans }))
}
