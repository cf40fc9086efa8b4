//! Error bodies: JSON inside a JSON string, and `FastAPI`'s list of details.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// An exception of Feast; its client raises the class of that name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct ErrorBody {
    /// Python module of the exception, such as `feast.errors`.
    pub module: Cow<'static, str>,
    /// Name of the exception.
    pub class: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
}

/// Body of a 422: the request does not have the form of the endpoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ValidationBody {
    /// The findings.
    pub detail: Vec<ValidationDetail>,
}

/// One finding in the form of `FastAPI`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ValidationDetail {
    /// A stable word for programs, such as `json_invalid`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The path to the value, beginning with `body`.
    pub loc: Vec<String>,
    /// A sentence for people.
    pub msg: String,
}

impl ErrorBody {
    /// An exception of `feast.errors`.
    pub fn feast(class: &'static str, message: impl Into<String>) -> Self {
        Self {
            module: Cow::Borrowed("feast.errors"),
            class: Cow::Borrowed(class),
            message: message.into(),
        }
    }

    /// The body: JSON in a JSON string, with the spaces that Python's `json.dumps` writes.
    pub fn to_json(&self) -> String {
        let (module, class, message) = (
            quote(&self.module),
            quote(&self.class),
            quote(&self.message),
        );
        quote(&format!(
            r#"{{"module": {module}, "class": {class}, "message": {message}}}"#
        ))
    }

    /// Reads such a body; `None` for any other, such as the error page of a proxy.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let inner: String = serde_json::from_slice(body).ok()?;
        serde_json::from_str(&inner).ok()
    }
}

impl ValidationBody {
    /// One finding at a path below `body`.
    pub fn new(kind: &'static str, path: &[&str], message: impl Into<String>) -> Self {
        let loc = std::iter::once("body")
            .chain(path.iter().copied())
            .map(str::to_owned)
            .collect();
        Self {
            detail: vec![ValidationDetail {
                kind: Cow::Borrowed(kind),
                loc,
                msg: message.into(),
            }],
        }
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
