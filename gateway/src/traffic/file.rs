//! The routes file: TOML in, traffic splits out, or an error that names the file, the model and the
//! variant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::{Mode, Rule, Split, Traffic, Variant};
use crate::config::ServiceAddress;
use crate::names::{MAX_VARIANT_NAME, is_model_name, is_variant_name};
use crate::parse::http_url;

/// Each variant of a model is a value of metric attributes, so there cannot be many.
const MAX_VARIANTS: usize = 16;
const MAX_SALT: usize = 128;
/// Weights are shares, not counts of requests.
const MAX_WEIGHT: u32 = 1_000_000;

/// The routes file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// The file cannot be read.
    #[error("there are no routes")]
    Read(#[from] runtime::FileError),
    /// The file is not a valid routes file.
    #[error("the routes file {} is not valid: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
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
    service: Option<String>,
    weight: Option<i64>,
    #[serde(default)]
    mode: Mode,
}

/// Reads the text of a routes file. A variant without `url` is at the address that `services` gives
/// for its `service`, or without that for its own name.
pub(super) fn read(
    path: &Path,
    text: &[u8],
    services: &[ServiceAddress],
) -> Result<Traffic, RoutesError> {
    let invalid = |what: String| RoutesError::Invalid {
        path: path.to_owned(),
        // A name or an address may hold a password.
        what: runtime::without_secrets(&what),
    };
    let text = std::str::from_utf8(text).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
    let file: File = toml::from_str(text).map_err(|error| invalid(explain(text, &error)))?;
    if file.models.is_empty() {
        // An editor may empty the file before it writes. That must not send all traffic elsewhere
        // for a moment.
        return Err(invalid("it names no model".to_owned()));
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    let set: Arc<str> = name.to_string_lossy().into();
    let mut models = BTreeMap::new();
    for (model, section) in file.models {
        let split = split(&model, section, services, &set)
            .map_err(|what| invalid(format!("model `{model}`: {what}")))?;
        models.insert(model, split);
    }
    Ok(Traffic::with(services, models))
}

fn split(
    model: &str,
    section: ModelSection,
    services: &[ServiceAddress],
    set: &Arc<str>,
) -> Result<Split, String> {
    if !is_model_name(model) {
        return Err("the name must have letters, digits, `_`, `-` and `.` only".to_owned());
    }
    let salt = section.salt.unwrap_or_else(|| model.to_owned());
    if salt.len() > MAX_SALT || salt.chars().any(char::is_control) {
        return Err(format!(
            "salt must have at most {MAX_SALT} bytes and no control characters"
        ));
    }
    let count = section.variants.len();
    if count > MAX_VARIANTS {
        return Err(format!(
            "it has {count} variants, and the most is {MAX_VARIANTS}"
        ));
    }
    let mut variants: Vec<Variant> = Vec::with_capacity(count);
    for section in section.variants {
        let name = section.name.clone();
        let variant = variant(section, services)
            .and_then(|variant| once(&variants, variant))
            .map_err(|what| format!("variant `{name}`: {what}"))?;
        variants.push(variant);
    }
    if !variants.iter().any(|variant| variant.mode == Mode::Active) {
        return Err("it has no active variant, so nothing could answer".to_owned());
    }
    if !variants.iter().any(Variant::answers) {
        return Err("no active variant has a weight above 0, so nothing could answer".to_owned());
    }
    let rule = Rule {
        salt,
        fail_over: section.fail_over,
        implied: false,
        set: Arc::clone(set),
    };
    Ok(Split::new(variants, rule))
}

fn once(variants: &[Variant], variant: Variant) -> Result<Variant, String> {
    if variants.iter().any(|known| known.name == variant.name) {
        return Err("there are two variants of this name".to_owned());
    }
    Ok(variant)
}

fn variant(section: VariantSection, services: &[ServiceAddress]) -> Result<Variant, String> {
    let VariantSection {
        name,
        url,
        service,
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
            return Err("a shadow never answers, so it must not have a `weight`".to_owned());
        }
        (Mode::Active, None) => {
            return Err(
                "`weight` is missing; with 0 it answers only requests that name it".to_owned(),
            );
        }
        (Mode::Active, Some(weight)) => u32::try_from(weight)
            .ok()
            .filter(|weight| *weight <= MAX_WEIGHT)
            .ok_or_else(|| format!("weight {weight} is not between 0 and {MAX_WEIGHT}"))?,
    };
    Ok(Variant {
        service: match (url, service) {
            (Some(_), Some(_)) => return Err("it has both `url` and `service`".to_owned()),
            (Some(url), None) => http_url(&url)?,
            (None, service) => address(service.as_deref().unwrap_or(&name), services)?,
        },
        name: name.into(),
        weight,
        mode,
    })
}

fn address(name: &str, services: &[ServiceAddress]) -> Result<Url, String> {
    services
        .iter()
        .find(|service| service.name == name)
        .map(|service| service.url.clone())
        .ok_or_else(|| format!("`url` is missing, and no --model-service {name}=URL gives one"))
}

/// The parser's message on one line, with the number of the line in the file.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    let Some(span) = error.span() else {
        return message;
    };
    let before = text.get(..span.start).unwrap_or_default();
    format!("line {}: {message}", before.matches('\n').count() + 1)
}
