//! What a client asks of the cache (`Cache-Control`, RFC 9111) and what it is told (`Cache-Status`, RFC 9211).
//!
//! `no-cache` computes anew and stores. `no-store` forbids to keep anything of this request and its answer (RFC 9111,
//! 5.2.1.5); reading what an earlier request stored is no storing, so a stored prediction still answers. `max-age` takes
//! only what is no older. `only-if-cached` never asks the model; what is missing is 504.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, header};

/// The header, which the `http` crate does not name.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The request directives that are honoured; others are ignored, as the RFC asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
    /// Seconds.
    pub(crate) max_age: Option<u64>,
}

impl Directives {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        let values = headers
            .get_all(header::CACHE_CONTROL)
            .iter()
            .filter_map(|value| value.to_str().ok());
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => this.no_cache = true,
                "no-store" => this.no_store = true,
                "only-if-cached" => this.only_if_cached = true,
                "max-age" => this.max_age = Some(seconds(value)),
                _ => {}
            }
        }
        this
    }
}

/// Delta-seconds; too large a number is "for ever", and what is no number is the strictest age (RFC 9111, 1.2.2 and 4.2.1).
fn seconds(value: &str) -> u64 {
    let value = value.trim().trim_matches('"');
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        value.parse().unwrap_or(u64::MAX)
    } else {
        0
    }
}

/// How the predictions of one request were come by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Answered from the store.
    pub(crate) hits: usize,
    /// Not in the store.
    pub(crate) misses: usize,
    /// In the store, but too old.
    pub(crate) stale: usize,
    /// Computed anew because the client asked for it.
    pub(crate) requested: usize,
    /// The store could not be read.
    pub(crate) bypassed: usize,
    /// Why something that is missing was not computed.
    pub(crate) left_out: Option<&'static str>,
    /// Computed by another request at the same time.
    pub(crate) collapsed: usize,
    /// Whether what was computed is stored; `None` when it was not to be, or nothing was computed.
    pub(crate) stored: Option<bool>,
    /// Seconds until the first of the hits is too old, if they age.
    pub(crate) ttl: Option<i64>,
}

impl Tally {
    /// The value of `Cache-Status`.
    pub(crate) fn header(&self) -> String {
        let mut value = String::from("throughline");
        let forwarded = self.misses + self.stale + self.requested + self.bypassed;
        if forwarded == 0 {
            self.describe_unforwarded(&mut value);
            return value;
        }
        value.push_str("; fwd=");
        value.push_str(self.reason());
        if self.collapsed == forwarded {
            value.push_str("; collapsed");
        }
        match self.stored {
            // What could not be read is not told to be kept, even if this write went through.
            _ if self.bypassed > 0 => {}
            Some(true) => value.push_str("; stored"),
            Some(false) => value.push_str("; detail=store-failed"),
            None => {}
        }
        value
    }

    fn reason(&self) -> &'static str {
        if self.bypassed > 0 {
            "bypass"
        } else if self.requested > 0 {
            "request"
        } else if self.hits > 0 {
            "partial"
        } else if self.misses > 0 {
            "miss"
        } else {
            "stale"
        }
    }

    fn describe_unforwarded(&self, value: &mut String) {
        if self.hits > 0 {
            value.push_str("; hit");
        }
        if let Some(detail) = self.left_out {
            let _ = write!(value, "; detail={detail}");
        } else if let Some(ttl) = self.ttl {
            let _ = write!(value, "; ttl={ttl}");
        }
    }
}
