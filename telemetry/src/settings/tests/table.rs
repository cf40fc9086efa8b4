//! `docs/telemetry-variables.md` against the settings: every row says what becomes of a variable.

use super::{Settings, read};

const DOCUMENT: &str = include_str!("../../../../docs/telemetry-variables.md");

/// With these, every variable of the table has an effect.
const BASE: [(&str, &str); 3] = [
    ("OTEL_TRACES_SAMPLER", "traceidratio"),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/client.pem"),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/client.key"),
];

#[derive(Debug)]
struct Row {
    variable: String,
    becomes: String,
    good: Option<String>,
    wrong: Option<String>,
}

#[test]
fn the_document_says_what_becomes_of_each_variable() {
    let rows = rows();
    assert!(rows.len() > 70, "{} rows", rows.len());
    let mut names: Vec<_> = rows.iter().map(|row| &row.variable).collect();
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    let base = with(None);
    assert_eq!(base.ignored, []);
    for row in rows {
        let name = row.variable.as_str();
        let good = row.good.as_deref().map(|value| with(Some((name, value))));
        let wrong = row.wrong.as_deref().map(|value| with(Some((name, value))));
        match row.becomes.as_str() {
            "followed" => {
                let good = good.unwrap_or_else(|| panic!("{name} has no example"));
                assert_eq!(good.ignored, [], "{name}");
                assert_ne!(text(&good), text(&base), "{name} changes nothing");
                if let Some(wrong) = wrong {
                    assert_warned(name, &wrong);
                }
            }
            "warning" => {
                let good = good.unwrap_or_else(|| panic!("{name} has no example"));
                assert_warned(name, &good);
            }
            "not applicable" => {
                let good = good.unwrap_or_else(|| panic!("{name} has no example"));
                assert_eq!(text(&good), text(&base), "{name}");
            }
            other => panic!("{name} is {other}"),
        }
    }
}

fn assert_warned(name: &str, settings: &Settings) {
    let warned: Vec<_> = settings
        .ignored
        .iter()
        .map(|ignored| &ignored.variable)
        .collect();
    assert_eq!(warned, [name]);
}

fn text(settings: &Settings) -> String {
    format!("{settings:?}")
}

fn with(variable: Option<(&str, &str)>) -> Settings {
    let name = variable.map(|(name, _)| name);
    let base = BASE.into_iter().filter(|(known, _)| Some(*known) != name);
    read(&base.chain(variable).collect::<Vec<_>>())
}

/// The rows of all tables, one for each variable that a name with braces stands for.
fn rows() -> Vec<Row> {
    let lines = DOCUMENT.lines().filter(|line| line.starts_with("| `OTEL_"));
    lines.flat_map(row).collect()
}

fn row(line: &str) -> Vec<Row> {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let [_, names, becomes, good, wrong, _, _] = cells.as_slice() else {
        panic!("{line}");
    };
    let row = |variable: String| Row {
        variable,
        becomes: (*becomes).to_owned(),
        good: value(good),
        wrong: value(wrong),
    };
    expand(names.trim_matches('`'))
        .into_iter()
        .map(row)
        .collect()
}

fn value(cell: &str) -> Option<String> {
    (!cell.is_empty()).then(|| cell.trim_matches('`').to_owned())
}

/// `A_{,B_}C` as `A_C` and `A_B_C`.
fn expand(name: &str) -> Vec<String> {
    let Some((start, rest)) = name.split_once('{') else {
        return vec![name.to_owned()];
    };
    let (words, end) = rest.split_once('}').expect("a closing brace");
    words
        .split(',')
        .map(|word| [start, word, end].concat())
        .collect()
}
