//! What a client asks of the cache (`Cache-Control`, RFC 9111), and how its answer used it
//! (`Cache-Status`, RFC 9211).
//!
//! `no-cache` computes anew and stores. `no-store` keeps nothing of this request and its answer
//! (RFC 9111, 5.2.1.5); reading what an earlier request stored is not storing, so a stored
//! prediction still answers. `max-age` accepts only predictions that are no older. `only-if-cached`
//! never calls the model; what is missing is 504.

use std::fmt::{Display, Formatter, Write as _};

use http::{HeaderMap, HeaderName, header};
use protocol::ErrorCode;

use crate::store::watched::WriteEnd;

/// The `http` crate has no constant for this header.
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

/// What the prediction store answered for one prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CacheResult {
    Hit,
    Miss,
    /// It is stored and too old.
    Stale,
    /// The client wants it computed anew, so the store was not asked.
    Requested,
    /// The store could not be read.
    Error,
}

/// Why nothing is computed for something that is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// The client sent `only-if-cached`.
    OnlyIfCached,
    /// The id of a text is not enough to compute its prediction.
    TextUnknown,
}

/// How one request used the cache.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheStatus {
    hits: usize,
    misses: usize,
    stale: usize,
    requested: usize,
    errors: usize,
    /// Why something that is missing was not computed.
    pub(crate) left_out: Option<LeftOut>,
    /// Computed by the call of another request.
    pub(crate) shared: usize,
    /// What became of what was computed; `None` when nothing was to be stored.
    pub(crate) stored: Option<WriteEnd>,
    /// Seconds until the first of the hits is too old, if they age.
    pub(crate) ttl: Option<i64>,
}

impl Directives {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        for line in headers.get_all(header::CACHE_CONTROL) {
            // An extension may hold any bytes, and must not hide the directives beside it.
            for directive in members(&String::from_utf8_lossy(line.as_bytes())) {
                this.add(directive);
            }
        }
        this
    }

    fn add(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" => self.no_cache = true,
            "no-store" => self.no_store = true,
            "only-if-cached" => self.only_if_cached = true,
            // The strictest of several counts (RFC 9111, 4.2.1).
            "max-age" => {
                let seconds = seconds(value);
                self.max_age = Some(self.max_age.map_or(seconds, |other| other.min(seconds)));
            }
            _ => {}
        }
    }

    /// Whether the store is not to be read.
    pub(crate) fn computes_anew(self) -> bool {
        self.no_cache && !self.only_if_cached
    }
}

/// The members of a list. A comma in a quoted string separates nothing (RFC 9110, 5.6.1 and 5.6.4).
fn members(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |character| {
        let separates = character == ',' && !quoted;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        separates
    })
}

/// Delta-seconds. A number that is too large means for ever; anything that is not a number is the
/// strictest age, 0 (RFC 9111, 1.2.2 and 4.2.1).
fn seconds(value: &str) -> u64 {
    let value = value.trim().trim_matches('"');
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        value.parse().unwrap_or(u64::MAX)
    } else {
        0
    }
}

impl CacheResult {
    /// The value of the attribute of `ml.prediction_cache.requests`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Requested => "bypass",
            Self::Error => "error",
        }
    }
}

impl LeftOut {
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::OnlyIfCached => ErrorCode::NotCached,
            Self::TextUnknown => ErrorCode::TextNotStored,
        }
    }

    /// The `detail` of `Cache-Status`.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::OnlyIfCached => "only-if-cached",
            Self::TextUnknown => "text-unknown",
        }
    }
}

impl CacheStatus {
    pub(crate) fn count(&mut self, result: CacheResult) {
        let counter = match result {
            CacheResult::Hit => &mut self.hits,
            CacheResult::Miss => &mut self.misses,
            CacheResult::Stale => &mut self.stale,
            CacheResult::Requested => &mut self.requested,
            CacheResult::Error => &mut self.errors,
        };
        *counter += 1;
    }

    /// The value of `Cache-Status`.
    pub(crate) fn header(&self) -> String {
        let mut value = String::with_capacity(48);
        let _ = write!(value, "{self}");
        value
    }

    /// The `fwd` parameter.
    fn reason(&self) -> &'static str {
        if self.errors > 0 {
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
}

impl Display for CacheStatus {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str("throughline")?;
        let forwarded = self.misses + self.stale + self.requested + self.errors;
        if forwarded == 0 {
            if self.hits > 0 {
                out.write_str("; hit")?;
            }
            return match (self.left_out, self.ttl) {
                (Some(why), _) => write!(out, "; detail={}", why.detail()),
                (None, Some(ttl)) => write!(out, "; ttl={ttl}"),
                (None, None) => Ok(()),
            };
        }
        write!(out, "; fwd={}", self.reason())?;
        if self.shared == forwarded {
            out.write_str("; collapsed")?;
        }
        match self.stored {
            // A store that cannot be read is not said to have stored, even if the write went
            // through.
            _ if self.errors > 0 => Ok(()),
            Some(WriteEnd::Stored) => out.write_str("; stored"),
            Some(WriteEnd::Superseded) => out.write_str("; detail=superseded"),
            Some(WriteEnd::Failed) => out.write_str("; detail=store-failed"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn max_age(lines: &[&'static str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CACHE_CONTROL, http::HeaderValue::from_static(line));
        }
        Directives::read(&headers).max_age
    }

    #[test]
    fn the_strictest_of_several_ages_counts() {
        assert_eq!(max_age(&["max-age=0, max-age=60"]), Some(0));
        assert_eq!(max_age(&["max-age=60, max-age=0"]), Some(0));
        assert_eq!(
            max_age(&["max-age=60", "max-age=10, no-store", "MAX-AGE=30"]),
            Some(10)
        );
        assert_eq!(max_age(&["max-age=60, max-age=soon"]), Some(0));
        assert_eq!(max_age(&["no-store"]), None);
    }

    #[test]
    fn an_extension_neither_counts_nor_hides_others() {
        assert_eq!(max_age(&[r#"note="a, max-age=0", max-age=60"#]), Some(60));
        assert_eq!(max_age(&[r#"note="a\", max-age=0", max-age=5"#]), Some(5));
        let mut headers = HeaderMap::new();
        let line = http::HeaderValue::from_bytes(b"note=\xff, no-cache").unwrap();
        headers.append(header::CACHE_CONTROL, line);
        assert!(Directives::read(&headers).no_cache);
    }
}
