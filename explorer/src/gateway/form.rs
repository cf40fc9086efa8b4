//! The fields of the form, from a query or from the body of a POST.

use std::collections::HashMap;
use std::time::Duration;

use url::form_urlencoded;

use super::ask::{Ask, Cache, Fault, FaultKind, MAX_LATENCY_MS, MAX_TEXT, SERVICES, Subject};

/// Bytes of a name of a model or a variant, or of an entity's id.
const MAX_NAME: usize = 128;

/// Fields by name; of one that is given twice, the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(HashMap<String, String>);

impl Form {
    pub(crate) fn parse(encoded: &[u8]) -> Form {
        Form(form_urlencoded::parse(encoded).into_owned().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field without the spaces around it; empty if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// A request of its own; the error says what to change.
    pub(crate) fn ask(&self) -> Result<Ask, String> {
        self.adjust(Ask {
            model: name(self.get("model"), "model")?.ok_or("choose a model")?,
            subject: self.subject()?,
            variant: None,
            cache: Cache::Use,
            fault: None,
        })
    }

    /// The same question with the variant, the use of the store and the fault of the form.
    pub(crate) fn adjust(&self, ask: Ask) -> Result<Ask, String> {
        Ok(Ask {
            variant: name(self.get("variant"), "variant")?,
            cache: self.cache()?,
            fault: self.fault()?,
            ..ask
        })
    }

    fn subject(&self) -> Result<Subject, String> {
        let (text, entity) = (self.get("text"), self.get("entity"));
        match (text.is_empty(), entity.is_empty()) {
            (false, false) => Err("give an id or a text, not both".to_owned()),
            (false, true) if text.len() > MAX_TEXT => {
                Err(format!("the text is longer than {MAX_TEXT} bytes"))
            }
            (false, true) => Ok(Subject::Text(text.to_owned())),
            (true, false) if entity.len() > MAX_NAME => {
                Err(format!("the id is longer than {MAX_NAME} bytes"))
            }
            (true, false) => Ok(Subject::Entity(entity.to_owned())),
            (true, true) => Err("give an id such as wine-0001, or type a text".to_owned()),
        }
    }

    fn cache(&self) -> Result<Cache, String> {
        match self.get("cache") {
            "" => Ok(Cache::Use),
            "no-cache" => Ok(Cache::Refresh),
            "no-store" => Ok(Cache::Bypass),
            _ => Err("the use of stored predictions is no-cache, no-store or nothing".to_owned()),
        }
    }

    fn fault(&self) -> Result<Option<Fault>, String> {
        let kind = match self.get("fault") {
            "" => return Ok(None),
            "error" => FaultKind::Error,
            "drop" => FaultKind::Drop,
            "latency" => FaultKind::Latency(self.latency()?),
            _ => return Err("a fault is latency, error or drop".to_owned()),
        };
        let given = self.get("fault_service");
        let service = SERVICES.into_iter().find(|service| *service == given);
        let service = service.ok_or_else(|| format!("a fault is of {}", SERVICES.join(", ")))?;
        Ok(Some(Fault { service, kind }))
    }

    fn latency(&self) -> Result<Duration, String> {
        let text = self.get("fault_ms");
        let milliseconds = if text.is_empty() {
            Ok(300)
        } else {
            text.parse()
        };
        let milliseconds = milliseconds.ok().filter(|ms| *ms <= MAX_LATENCY_MS);
        let milliseconds = milliseconds
            .ok_or_else(|| format!("a delay is a number of ms, at most {MAX_LATENCY_MS}"))?;
        Ok(Duration::from_millis(milliseconds))
    }
}

/// A name that can be a member of the baggage as it is; none if the field is empty.
fn name(text: &str, field: &str) -> Result<Option<String>, String> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.len() <= MAX_NAME && text.chars().all(valid) {
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    } else {
        Err(format!(
            "a {field} has letters, digits, '.', '_' and '-' only"
        ))
    }
}
