//! The parameters of a query string, for the filter, and for links that change one of them.

use url::form_urlencoded;

use super::{Condition, Filter, Sort, moment};

/// Traces in one answer when the query has no limit, and the most of them.
const LIMITS: (usize, usize) = (100, 1_000);
/// Conditions in one filter; each is tested on every attribute.
const MAX_CONDITIONS: usize = 20;
/// Parameters with the attribute that they stand for.
const ATTRIBUTES: [(&str, &str); 3] = [
    ("model", "ml.model_name"),
    ("variant", "ml.variant"),
    ("version", "ml.model_version"),
];

/// Names and values as they are in the address. A form sends its empty fields, too; they are
/// dropped, so that an empty field does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(query: &str) -> Parameters {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let pairs = pairs.filter(|(_, value)| !value.trim().is_empty());
        Parameters(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// Every name with its value.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().filter(move |(given, _)| given == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, String> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(format!("{name} is given more than once")),
        }
    }

    /// The query string with other values for some parameters; `None` leaves one out.
    pub(crate) fn with(&self, changes: &[(&str, Option<&str>)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        query.extend_pairs(self.0.iter().filter(|(name, _)| !is_changed(name)));
        query.extend_pairs(
            changes
                .iter()
                .filter_map(|(name, value)| Some((name, (*value)?))),
        );
        query.finish()
    }

    /// The filter that the parameters describe; those of other parts of the page are passed over.
    pub(crate) fn filter(&self, now: u64) -> Result<Filter, String> {
        let time = |name: &str| {
            let read = |text: &str| {
                moment(text, now).ok_or_else(|| {
                    format!(
                        "{name} {text:?} is no time: write 15m, 2h, 1d, or 2026-01-31T12:00:00Z"
                    )
                })
            };
            self.one(name)?.map(read).transpose()
        };
        Ok(Filter {
            service: self.one("service")?.map(str::to_owned),
            conditions: self.conditions()?,
            failed: self.flag("status", "error", "ok")?,
            min_duration: self.milliseconds("min_duration_ms")?,
            max_duration: self.milliseconds("max_duration_ms")?,
            cached: self.flag("cached", "yes", "no")?,
            since: time("since")?,
            until: time("until")?,
            text: self.one("q")?.map(|text| text.trim().to_owned()),
            sort: self.sort()?,
            limit: self.limit()?,
        })
    }

    fn conditions(&self) -> Result<Vec<Condition>, String> {
        let mut conditions = Vec::new();
        for (name, key) in ATTRIBUTES {
            conditions.extend(self.one(name)?.map(|value| Condition::is(key, value)));
        }
        for text in self.all("where") {
            conditions.push(Condition::parse(text)?);
        }
        if conditions.len() > MAX_CONDITIONS {
            return Err(format!("there are more than {MAX_CONDITIONS} conditions"));
        }
        Ok(conditions)
    }

    fn flag(&self, name: &str, yes: &str, no: &str) -> Result<Option<bool>, String> {
        match self.one(name)? {
            None => Ok(None),
            Some(value) if value == yes => Ok(Some(true)),
            Some(value) if value == no => Ok(Some(false)),
            Some(value) => Err(format!("{name} must be {no} or {yes}, not {value:?}")),
        }
    }

    /// A duration in nanoseconds.
    pub(crate) fn milliseconds(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        match text.trim().parse::<f64>() {
            Ok(number) if (0.0..=1e12).contains(&number) => Ok(Some((number * 1e6).round() as u64)),
            _ => Err(format!(
                "{name} must be a number of milliseconds, 0 or more, not {text:?}"
            )),
        }
    }

    fn sort(&self) -> Result<Sort, String> {
        let Some(wanted) = self.one("sort")? else {
            return Ok(Sort::default());
        };
        let known = Sort::ALL.into_iter().find(|(_, name)| *name == wanted);
        known.map(|(sort, _)| sort).ok_or_else(|| {
            format!("sort must be newest, oldest, slowest or fastest, not {wanted:?}")
        })
    }

    fn limit(&self) -> Result<usize, String> {
        let (default, most) = LIMITS;
        let Some(text) = self.one("limit")? else {
            return Ok(default);
        };
        match text.parse() {
            Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
            _ => Err(format!("limit must be between 1 and {most}")),
        }
    }
}
