//! The names in the code, read from its text: neither constants nor macro calls can be listed at
//! run time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::model::root;

/// The project's own constants of `attr.rs`, with what their doc comments say in the last
/// parentheses.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    /// Name and type.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Name, and instrument with unit.
    pub(crate) metrics: BTreeMap<String, String>,
}

pub(crate) fn constants() -> Constants {
    let text = include_str!("../../src/attr.rs");
    let (mut constants, mut doc, mut in_metrics) = (Constants::default(), String::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            words.trim().clone_into(&mut doc);
        } else if line == "pub mod metric {" {
            in_metrics = true;
        } else if line.starts_with("pub const ") {
            let name = line
                .split('"')
                .nth(1)
                .expect("a constant is a literal")
                .to_owned();
            let shape = doc
                .rsplit('(')
                .next()
                .and_then(|rest| rest.strip_suffix(")."))
                .unwrap_or_default()
                .replace('`', "");
            let table = if in_metrics {
                &mut constants.metrics
            } else {
                &mut constants.attributes
            };
            table.insert(name, shape);
        }
    }
    constants
}

/// Resolves the constants that `attr.rs` takes from the conventions; a missing or an extra one does
/// not compile or fails.
macro_rules! names {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((stringify!($name), names!(@ $module $name))),*]
    };
    (@ attr $name:ident) => { telemetry::attr::$name };
    (@ metric $name:ident) => { telemetry::attr::metric::$name };
}

pub(crate) fn opentelemetry_names() -> Vec<&'static str> {
    let resolved = names![
        attr::CLIENT_ADDRESS,
        attr::DB_COLLECTION_NAME,
        attr::DB_NAMESPACE,
        attr::DB_OPERATION_BATCH_SIZE,
        attr::DB_OPERATION_NAME,
        attr::DB_RESPONSE_STATUS_CODE,
        attr::DB_SYSTEM_NAME,
        attr::ELASTICSEARCH_NODE_NAME,
        attr::ERROR_TYPE,
        attr::EXCEPTION_MESSAGE,
        attr::EXCEPTION_STACKTRACE,
        attr::EXCEPTION_TYPE,
        attr::HTTP_REQUEST_METHOD,
        attr::HTTP_REQUEST_METHOD_ORIGINAL,
        attr::HTTP_REQUEST_RESEND_COUNT,
        attr::HTTP_RESPONSE_STATUS_CODE,
        attr::HTTP_ROUTE,
        attr::NETWORK_PROTOCOL_VERSION,
        attr::SERVER_ADDRESS,
        attr::SERVER_PORT,
        attr::URL_FULL,
        attr::URL_PATH,
        attr::URL_QUERY,
        attr::URL_SCHEME,
        attr::USER_AGENT_ORIGINAL,
        metric::DB_CLIENT_OPERATION_DURATION,
        metric::HTTP_CLIENT_REQUEST_DURATION,
        metric::HTTP_SERVER_ACTIVE_REQUESTS,
        metric::HTTP_SERVER_REQUEST_DURATION,
        metric::PROCESS_CPU_TIME,
        metric::PROCESS_MEMORY_USAGE,
    ];
    let listed: BTreeSet<_> = resolved.iter().map(|(constant, _)| *constant).collect();
    let text = include_str!("../../src/attr.rs");
    let taken = text
        .split("pub use ")
        .skip(1)
        .filter_map(|rest| rest.split_once('{')?.1.split_once('}'))
        .flat_map(|(list, _)| list.split(','));
    let taken: BTreeSet<_> = taken
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        listed, taken,
        "the list of this test (left) and the names that attr.rs takes (right)"
    );
    resolved.into_iter().map(|(_, name)| name).collect()
}

/// Every event of a `tracing` macro in the packages' sources: name and severity, with its fields.
pub(crate) fn events() -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut events: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for package in [
        "explorer",
        "feature-store",
        "gateway",
        "model-service",
        "runtime",
        "telemetry",
        "throughline",
    ] {
        let folder = root().join(package).join("src");
        each_source(&folder, "rs", &mut |path, text| {
            for (severity, call) in calls(text) {
                let name = call
                    .trim_start()
                    .strip_prefix("name:")
                    .and_then(|rest| rest.split('"').nth(1));
                let name = name.unwrap_or_else(|| {
                    panic!("an event without a name in {}: {call}", path.display())
                });
                events
                    .entry((name.to_owned(), severity))
                    .or_default()
                    .extend(fields(call));
            }
        });
    }
    events
}

/// Name and severity of every event that the Python worker logs.
pub(crate) fn events_in_python() -> BTreeSet<(String, String)> {
    let mut events = BTreeSet::new();
    let folder = root().join("model-service/python/src");
    each_source(&folder, "py", &mut |path, text| {
        for call in each_call(text, "logs.event(") {
            let [_, level, name, ..] = arguments(call)[..] else {
                panic!("an event without a name in {}: {call}", path.display())
            };
            let level = level.trim_start_matches("logging.");
            let severity = if level == "WARNING" { "WARN" } else { level };
            events.insert((name.trim_matches('"').to_owned(), severity.to_owned()));
        }
    });
    events
}

fn each_source(folder: &Path, extension: &str, read: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            each_source(&path, extension, read);
        } else if path.extension().is_some_and(|found| found == extension) && name != "tests.rs" {
            read(&path, &std::fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// The arguments of each macro call with its severity.
fn calls(text: &str) -> Vec<(String, &str)> {
    let mut calls = Vec::new();
    for level in ["trace", "debug", "info", "warn", "error"] {
        let open = format!("tracing::{level}!(");
        calls.extend(each_call(text, &open).map(|call| (level.to_uppercase(), call)));
    }
    calls
}

/// The arguments of each call that begins with `open`.
fn each_call<'a>(text: &'a str, open: &str) -> impl Iterator<Item = &'a str> {
    text.match_indices(open)
        .map(|(at, open)| until_closed(&text[at + open.len()..]))
}

/// The text up to the parenthesis that closes what is open; texts in quotes do not count.
fn until_closed(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// Keys of the fields: all arguments between the name and the message, in braces or not.
fn fields(call: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for argument in arguments(call).into_iter().skip(1) {
        if let Some(inside) = argument
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        {
            keys.extend(arguments(inside).into_iter().filter_map(key));
        } else if argument.starts_with('"') {
            // The message; what follows are the values of its placeholders.
            break;
        } else {
            keys.extend(key(argument));
        }
    }
    keys
}

fn key(argument: &str) -> Option<String> {
    let key = argument
        .split('=')
        .next()?
        .trim()
        .trim_matches('"')
        .trim_start_matches(['%', '?']);
    (!key.is_empty()).then(|| key.to_owned())
}

/// Splits at the commas that are inside nothing.
fn arguments(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut quoted, mut start) = (Vec::new(), 0, false, 0);
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '(' | '{' | '[' if !quoted => depth += 1,
            ')' | '}' | ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}
