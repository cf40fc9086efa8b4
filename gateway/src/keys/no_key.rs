//! Requests that come without a key.

/// Why a request has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKey {
    #[error("the request has no API key; send `Authorization: Bearer KEY`")]
    Missing,
    #[error("the API key is not known")]
    Unknown,
}

impl NoKey {
    /// A request without a key gets no error code (RFC 6750 §3.1).
    pub(crate) fn challenge(self) -> &'static str {
        match self {
            Self::Missing => r#"Bearer realm="throughline""#,
            Self::Unknown => r#"Bearer realm="throughline", error="invalid_token""#,
        }
    }
}
