//! The routes file: TOML in, routes out, or an error that names the file, the model and the variant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::{Mode, Route, Routes, Rule, Variant};
use crate::catalogue::is_name;
use crate::config::{ServiceAddress, http_url};

/// Variants of one model: each has its place in metrics and statistics.
const MAX_VARIANTS: usize = 16;
const MAX_VARIANT_NAME: usize = 64;
const MAX_SALT: usize = 128;
/// Weights are shares and not counts.
const MAX_WEIGHT: u32 = 1_000_000;

/// The routes file cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// It cannot be read.
    #[error("cannot read the routes file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no routes file.
    #[error("the routes file {} is not right: {what}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        what: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    models: BTreeMap<String, ModelSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSection {
    salt: Option<String>,
    #[serde(default)]
    fail_over: bool,
    #[serde(default)]
    variants: Vec<VariantSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantSection {
    name: String,
    url: Option<String>,
    weight: Option<i64>,
    #[serde(default)]
    mode: Mode,
}

/// Reads the text of a routes file. `services` are the addresses that a variant without `url` means.
pub(super) fn read(
    path: &Path,
    text: &[u8],
    services: &[ServiceAddress],
) -> Result<Routes, RoutesError> {
    let wrong = |what| RoutesError::Wrong {
        path: path.to_owned(),
        what,
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let file: File = toml::from_str(text).map_err(|error| wrong(explain(text, &error)))?;
    if file.models.is_empty() {
        // An editor that empties a file before it writes must not send all traffic elsewhere for a moment.
        return Err(wrong("it names no model".to_owned()));
    }
    let set: Arc<str> = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into();
    let mut models = BTreeMap::new();
    for (model, section) in file.models {
        let route = route(&model, section, services, &set)
            .map_err(|what| wrong(format!("model `{model}`: {what}")))?;
        models.insert(model, route);
    }
    Ok(Routes::with(services, models))
}

fn route(
    model: &str,
    section: ModelSection,
    services: &[ServiceAddress],
    set: &Arc<str>,
) -> Result<Route, String> {
    let ModelSection {
        salt,
        fail_over,
        variants: sections,
    } = section;
    if !is_name(model) {
        return Err("the name must have letters, digits, `_`, `-` and `.` only".to_owned());
    }
    let salt = salt.unwrap_or_else(|| model.to_owned());
    if salt.len() > MAX_SALT || salt.chars().any(char::is_control) {
        return Err(format!(
            "salt must have at most {MAX_SALT} bytes and no control characters"
        ));
    }
    if sections.len() > MAX_VARIANTS {
        return Err(format!(
            "it has {} variants and may have {MAX_VARIANTS}",
            sections.len()
        ));
    }
    let mut variants: Vec<Variant> = Vec::with_capacity(sections.len());
    for section in sections {
        let name = section.name.clone();
        let told = |what: String| format!("variant `{name}`: {what}");
        if variants.iter().any(|known| *known.name == *name) {
            return Err(told("it is there twice".to_owned()));
        }
        variants.push(variant(section, services).map_err(told)?);
    }
    if !variants.iter().any(|variant| variant.mode == Mode::Active) {
        return Err("it has no active variant, so nothing could answer".to_owned());
    }
    if !variants.iter().any(Variant::answers) {
        return Err("no active variant has a weight above 0, so nothing could answer".to_owned());
    }
    Ok(Route::new(
        variants,
        Rule {
            salt,
            fail_over,
            implied: false,
            set: Arc::clone(set),
        },
    ))
}

fn variant(section: VariantSection, services: &[ServiceAddress]) -> Result<Variant, String> {
    let VariantSection {
        name,
        url,
        weight,
        mode,
    } = section;
    if !is_variant_name(&name) {
        return Err(format!(
            "a name has 1 to {MAX_VARIANT_NAME} letters, digits, `_`, `-` and `.`"
        ));
    }
    let weight = match (mode, weight) {
        (Mode::Shadow, None) => 0,
        (Mode::Shadow, Some(_)) => {
            return Err("a shadow never answers, so it has no `weight`".to_owned());
        }
        (Mode::Active, None) => {
            return Err("`weight` is missing; 0 answers only who asks for it by name".to_owned());
        }
        (Mode::Active, Some(weight)) => u32::try_from(weight)
            .ok()
            .filter(|weight| *weight <= MAX_WEIGHT)
            .ok_or_else(|| format!("weight {weight} is not 0 to {MAX_WEIGHT}"))?,
    };
    Ok(Variant {
        service: address(&name, url.as_deref(), services)?,
        name: name.into(),
        weight,
        mode,
    })
}

fn address(name: &str, url: Option<&str>, services: &[ServiceAddress]) -> Result<Url, String> {
    if let Some(url) = url {
        return http_url(url);
    }
    let service = services
        .iter()
        .find(|service| service.name == name)
        .map(|service| service.url.clone());
    service.ok_or_else(|| format!("`url` is missing, and no --model-service {name}=URL gives one"))
}

/// Whether a text can name a variant.
pub(crate) fn is_variant_name(text: &str) -> bool {
    text.len() <= MAX_VARIANT_NAME && is_name(text)
}

/// What the parser says, on one line, with the number of the line that it means.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    let line = |at: usize| {
        text.get(..at)
            .map_or(0, |before| before.matches('\n').count())
            + 1
    };
    error.span().map_or_else(
        || message.clone(),
        |span| format!("line {}: {message}", line(span.start)),
    )
}
