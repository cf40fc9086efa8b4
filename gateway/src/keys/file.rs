//! The file of the API keys: TOML in, entries out, or an error that names the file and the key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use runtime::FileError;
use serde::Deserialize;

use crate::names::is_variant_name;

/// Each request is compared with all of them.
const MAX_KEYS: usize = 1_000;
const MAX_RATE: f64 = 1e6;
const MAX_COUNT: u32 = 1_000_000;

/// The file of the API keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("there are no API keys")]
    Read(#[from] FileError),
    /// The file is not a valid file of keys.
    #[error("the file of the API keys {} is not valid: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
}

/// One key of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyEntry {
    pub(super) name: String,
    /// Keys are 256 random bits that we made. Nobody can guess one, so a slow hash as for passwords
    /// would protect nothing and cost every request its time.
    pub(super) sha256: [u8; 32],
    pub(super) rate: Option<Rate>,
    pub(super) max_in_flight: Option<u32>,
}

/// How often a key may be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    /// Requests that may come at once after a pause.
    pub(super) burst: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<KeySection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySection {
    name: String,
    sha256: String,
    requests_per_second: Option<f64>,
    burst: Option<u32>,
    max_in_flight: Option<u32>,
}

/// Reads the keys. A file without keys is not valid: it is one that was cut off, and nobody could
/// use the gateway.
pub(super) fn read(path: &Path, content: &[u8]) -> Result<Vec<KeyEntry>, KeysError> {
    entries(content).map_err(|what| KeysError::Invalid {
        path: path.to_owned(),
        what,
    })
}

fn entries(content: &[u8]) -> Result<Vec<KeyEntry>, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8 text".to_owned())?;
    // The error's own text repeats the line, which could hold a key that was put there by mistake.
    let file: File = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..before].matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })?;
    if file.keys.is_empty() {
        return Err("it has no [[keys]]".to_owned());
    }
    if file.keys.len() > MAX_KEYS {
        return Err(format!("it has more than {MAX_KEYS} keys"));
    }
    let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    let mut entries = Vec::with_capacity(file.keys.len());
    for section in file.keys {
        let entry = entry(section)?;
        if !names.insert(entry.name.clone()) {
            return Err(format!("the name `{}` is there twice", entry.name));
        }
        if !hashes.insert(entry.sha256) {
            return Err(format!("`{}` has the sha256 of another key", entry.name));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(section: KeySection) -> Result<KeyEntry, String> {
    let KeySection { name, .. } = section;
    if !is_variant_name(&name) {
        return Err("a name has 1 to 64 letters, digits, `_`, `-` and `.`".to_owned());
    }
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&section.sha256, &mut sha256)
        .map_err(|_| format!("the sha256 of `{name}` is not 64 hex digits"))?;
    let rate = rate(section.requests_per_second, section.burst)
        .map_err(|what| format!("`{name}`: {what}"))?;
    if section
        .max_in_flight
        .is_some_and(|most| !(1..=MAX_COUNT).contains(&most))
    {
        return Err(format!("`{name}`: max_in_flight is 1 to {MAX_COUNT}"));
    }
    Ok(KeyEntry {
        name,
        sha256,
        rate,
        max_in_flight: section.max_in_flight,
    })
}

fn rate(per_second: Option<f64>, burst: Option<u32>) -> Result<Option<Rate>, String> {
    let Some(per_second) = per_second else {
        return match burst {
            None => Ok(None),
            Some(_) => Err("burst needs requests_per_second".to_owned()),
        };
    };
    if !(per_second > 0.0 && per_second <= MAX_RATE) {
        return Err(format!(
            "requests_per_second is above 0 and at most {MAX_RATE}"
        ));
    }
    let burst = burst.unwrap_or(per_second.ceil() as u32);
    if !(1..=MAX_COUNT).contains(&burst) {
        return Err(format!("burst is 1 to {MAX_COUNT}"));
    }
    Ok(Some(Rate { per_second, burst }))
}
