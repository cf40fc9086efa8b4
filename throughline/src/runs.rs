//! `throughline runs`: the trainings behind the versions in the model repository, from their
//! manifests.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::repository_args::RepositoryArgs;
use crate::screen;

#[derive(Clone, Debug, Args)]
pub(crate) struct RunsArgs {
    /// Only this model
    model: Option<String>,
    /// Print all that is known of these versions of the model, side by side; `≠` marks what differs
    #[arg(long, value_name = "VERSION", num_args = 1.., requires = "model")]
    compare: Vec<u64>,
    /// Print JSON
    #[arg(long, conflicts_with = "compare")]
    json: bool,
    #[command(flatten)]
    place: RepositoryArgs,
}

/// The training of one version.
struct Run {
    model: String,
    version: u64,
    manifest: Value,
}

pub(crate) fn main(args: &RunsArgs) -> anyhow::Result<()> {
    let repository = args.place.repository();
    let mut runs = read(&repository)?;
    if let Some(model) = &args.model {
        runs.retain(|run| run.model == *model);
        if runs.is_empty() {
            bail!("{} has no version of {model}", repository.display());
        }
    }
    if args.json {
        let runs: Vec<Value> = runs.iter().map(Run::to_json).collect();
        screen::say(serde_json::to_string_pretty(&runs)?);
    } else if args.compare.is_empty() {
        screen::say(list(&runs));
    } else {
        screen::say(compare(&runs, &args.compare)?);
    }
    Ok(())
}

/// All runs by model and version. A folder without a manifest is no version.
fn read(repository: &Path) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let models = std::fs::read_dir(repository)
        .with_context(|| format!("cannot read the model repository {}", repository.display()))?;
    for model in models.flatten() {
        let versions = std::fs::read_dir(model.path());
        for folder in versions.into_iter().flatten().flatten() {
            let Some(version) = folder
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let path = folder.path().join("manifest.json");
            let Ok(manifest) = std::fs::read(&path) else {
                continue;
            };
            let manifest = serde_json::from_slice(&manifest)
                .with_context(|| format!("{} is not JSON", path.display()))?;
            if is_added(&manifest) {
                continue;
            }
            runs.push(Run {
                model: model.file_name().to_string_lossy().into_owned(),
                version,
                manifest,
            });
        }
    }
    runs.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
    Ok(runs)
}

/// Whether the version was trained elsewhere, so that there is no training to show.
fn is_added(manifest: &Value) -> bool {
    manifest.get("added").is_some()
}

impl Run {
    fn text(&self, pointer: &str) -> String {
        match self.manifest.pointer(pointer) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }
    }

    fn number(&self, pointer: &str) -> Option<f64> {
        self.manifest.pointer(pointer)?.as_f64()
    }

    /// The figure that the model is judged by.
    fn quality(&self) -> String {
        let accuracy = self.number("/metrics/validation_accuracy");
        let error = self.number("/metrics/validation_rmse");
        match (accuracy, error) {
            (Some(accuracy), _) => format!("accuracy {accuracy:.3}{}", self.calibration()),
            (None, Some(error)) => format!("rmse {error:.4}"),
            (None, None) => "-".to_owned(),
        }
    }

    /// How far the confidence is from the accuracy, before and after its calibration.
    fn calibration(&self) -> String {
        let before = self.number("/calibration/error_before");
        let after = self.number("/calibration/error_after");
        match before.zip(after) {
            Some((before, after)) => format!(", ECE {before:.3} → {after:.3}"),
            None => String::new(),
        }
    }

    fn duration(&self) -> String {
        let seconds = self.number("/training/duration_seconds");
        seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2} s"))
    }

    fn parameters(&self) -> String {
        let parameters = pairs(self.manifest.get("hyperparameters"));
        let texts = parameters
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"));
        texts.collect::<Vec<_>>().join(" ")
    }

    /// Everything by name, in the order in which it is shown.
    fn facts(&self) -> Vec<(String, String)> {
        let plain = [
            ("created", "/created_at"),
            ("run id", "/run_id"),
            ("commit", "/source_commit"),
            ("framework", "/framework"),
            ("data set", "/dataset/name"),
            ("data sha256", "/dataset/sha256"),
            ("rows", "/dataset/rows"),
            ("seed", "/seed"),
        ];
        let mut facts: Vec<(String, String)> = plain
            .map(|(name, pointer)| (name.to_owned(), self.text(pointer)))
            .to_vec();
        facts.extend(pairs(self.manifest.get("hyperparameters")));
        facts.extend(pairs(self.manifest.get("metrics")));
        for (name, value) in pairs(self.manifest.get("calibration")) {
            facts.push((format!("calibration {name}"), value));
        }
        facts.push(("duration".to_owned(), self.duration()));
        facts.push(("trace".to_owned(), self.text("/training/trace_id")));
        facts
    }

    fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("model".to_owned(), json!(self.model));
        fields.insert("version".to_owned(), json!(self.version));
        for name in [
            "run_id",
            "created_at",
            "source_commit",
            "framework",
            "dataset",
            "seed",
            "hyperparameters",
            "metrics",
            "calibration",
            "training",
        ] {
            let value = self.manifest.get(name).cloned();
            fields.insert(name.to_owned(), value.unwrap_or_default());
        }
        Value::Object(fields)
    }
}

/// The members of an object, as texts.
fn pairs(object: Option<&Value>) -> Vec<(String, String)> {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    members
        .map(|(name, value)| match value {
            Value::Number(number) if number.is_f64() => {
                let number = number.as_f64().unwrap_or_default();
                (name.clone(), short(number))
            }
            Value::String(text) => (name.clone(), text.clone()),
            value => (name.clone(), value.to_string()),
        })
        .collect()
}

/// Four digits are enough to compare.
fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn list(runs: &[Run]) -> String {
    let head = [
        "MODEL",
        "VERSION",
        "QUALITY",
        "CREATED",
        "DATA",
        "COMMIT",
        "DURATION",
        "TRACE",
        "PARAMETERS",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in runs {
        let begin = |text: String, length: usize| text.chars().take(length).collect::<String>();
        rows.push(vec![
            run.model.clone(),
            run.version.to_string(),
            run.quality(),
            begin(run.text("/created_at"), 19),
            begin(run.text("/dataset/sha256"), 8),
            begin(run.text("/source_commit"), 8),
            run.duration(),
            run.text("/training/trace_id"),
            run.parameters(),
        ]);
    }
    table(&rows)
}

fn compare(runs: &[Run], versions: &[u64]) -> anyhow::Result<String> {
    let mut chosen = Vec::new();
    for version in versions {
        let run = runs.iter().find(|run| run.version == *version);
        chosen.push(run.with_context(|| format!("there is no version {version}"))?);
    }
    let facts: Vec<_> = chosen.iter().map(|run| run.facts()).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in facts.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut head = vec![String::new(), "VERSION".to_owned()];
    head.extend(versions.iter().map(u64::to_string));
    let mut rows = vec![head];
    for name in names {
        let values = facts.iter().map(|facts| {
            let found = facts.iter().find(|(own, _)| own == name);
            found.map_or("-", |(_, value)| value.as_str())
        });
        let different: BTreeSet<&str> = values.clone().collect();
        let mark = if different.len() > 1 { "≠" } else { "" };
        let mut row = vec![mark.to_owned(), name.clone()];
        row.extend(values.map(str::to_owned));
        rows.push(row);
    }
    Ok(table(&rows))
}

/// Rows in columns as wide as their widest text.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(version: u64, epochs: u64, accuracy: f64) -> Run {
        Run {
            model: "iris".to_owned(),
            version,
            manifest: json!({
                "run_id": "r", "created_at": "2026-11-27T10:00:00.123Z", "source_commit": null,
                "dataset": {"name": "iris", "sha256": "0123456789abcdef", "rows": 150}, "seed": 42,
                "hyperparameters": {"epochs": epochs, "learning_rate": 0.003},
                "metrics": {"validation_accuracy": accuracy},
                "calibration": {"temperature": 2.3, "rows": 30, "error_before": 0.1294, "error_after": 0.0246},
                "training": {"duration_seconds": 1.234, "trace_id": "abc"},
            }),
        }
    }

    #[test]
    fn a_line_has_quality_data_duration_trace_and_parameters() {
        let text = list(&[run(1, 20, 0.9)]);
        let line = text.lines().nth(1).unwrap();
        let words: Vec<&str> = line.split("  ").filter(|word| !word.is_empty()).collect();
        let expected = [
            "iris",
            "1",
            "accuracy 0.900, ECE 0.129 → 0.025",
            "2026-11-27T10:00:00",
            "01234567",
            "-",
            "1.23 s",
            "abc",
            "epochs=20 learning_rate=0.003",
        ];
        let words: Vec<&str> = words.into_iter().map(str::trim).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn what_differs_is_marked_and_a_missing_version_is_named() {
        let runs = [run(1, 20, 0.9), run(2, 40, 0.9)];
        let text = compare(&runs, &[1, 2]).unwrap();
        let marked: Vec<&str> = text.lines().filter(|line| line.starts_with('≠')).collect();
        assert_eq!(marked.len(), 1, "{text}");
        assert!(marked[0].contains("epochs"), "{text}");
        let error = compare(&runs, &[1, 3]).unwrap_err().to_string();
        assert!(error.contains("version 3"), "{error}");
    }
}
