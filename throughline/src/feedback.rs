//! `throughline feedback`: the true labels of the wines that the training held out, sent after their
//! predictions, so that the quality of the model is known at once.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use model_service::training::held_out_wines;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::address::GatewayArgs;
use crate::data_sets::WINE_QUALITY;
use crate::gateway_client::GatewayClient;
use crate::screen;

#[derive(Clone, Debug, Args)]
pub(crate) struct FeedbackArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Seed of the split that held the wines out
    #[arg(long, default_value_t = 42, value_name = "N")]
    seed: u64,
    /// The share of labels that are turned into the other one, 0 to 1: what a fall of the quality
    /// looks like
    #[arg(long, default_value_t = 0.0, value_parser = crate::load::share, value_name = "SHARE")]
    wrong: f64,
}

const TIMEOUT: Duration = Duration::from_secs(30);
/// Wines in one request.
const BATCH: usize = 100;
const MODEL: &str = WINE_QUALITY.model;

/// What became of the labels.
#[derive(Default)]
struct Sent {
    labels: usize,
    replaced: usize,
    failed: usize,
}

/// Sends the labels and prints what the gateway makes of them.
pub(crate) fn main(args: &FeedbackArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(send(args))
}

async fn send(args: &FeedbackArgs) -> anyhow::Result<()> {
    let gateway = GatewayClient::new(&args.gateway.url, TIMEOUT)?;
    let mut wines = held_out_wines(WINE_QUALITY.content.as_bytes(), args.seed)?;
    // Wines beside each other in the file are alike: in its order, a window of them drifts.
    wines.shuffle(&mut ChaCha8Rng::seed_from_u64(args.seed));
    turn(&mut wines, args.wrong);
    let mut sent = Sent::default();
    for wines in wines.chunks(BATCH) {
        let ids: Vec<&str> = wines.iter().map(|(id, _)| id.as_str()).collect();
        let asked = json!({"model": MODEL, "data_ids": ids});
        gateway.post("/v1/predictions", &asked).await?;
        let labels: Vec<Value> = wines
            .iter()
            .map(|(id, label)| json!({"data_id": id, "label": label}))
            .collect();
        let answer = gateway
            .post("/v1/feedback", &json!({"model": MODEL, "feedback": labels}))
            .await?;
        sent.add(&answer);
    }
    let quality = gateway.get(&format!("/v1/models/{MODEL}/quality")).await?;
    screen::say(sent.sentence());
    screen::say(summary(&quality));
    if sent.failed > 0 {
        bail!("{} labels were not taken", sent.failed);
    }
    Ok(())
}

/// Turns a share of the labels, evenly spread, into the other one.
fn turn(wines: &mut [(String, &'static str)], share: f64) {
    for (at, (_, label)) in wines.iter_mut().enumerate() {
        let due = |count: usize| (count as f64 * share).floor();
        if due(at + 1) > due(at) {
            *label = if *label == "high" { "low" } else { "high" };
        }
    }
}

impl Sent {
    fn add(&mut self, answer: &Value) {
        for entry in answer["feedback"].as_array().into_iter().flatten() {
            self.labels += 1;
            match entry["evaluations"].as_array() {
                None => self.failed += 1,
                Some(evaluations) => {
                    let replaced = |evaluation: &Value| evaluation["result"] == "replaced";
                    self.replaced += usize::from(evaluations.iter().any(replaced));
                }
            }
        }
    }

    fn sentence(&self) -> String {
        let Self {
            labels, replaced, ..
        } = self;
        let mut text = format!("sent the true labels of {labels} held-out wines");
        if *replaced > 0 {
            let _ = write!(text, "; {replaced} of them replace earlier ones");
        }
        text
    }
}

/// A sentence for each version with feedback.
fn summary(quality: &Value) -> String {
    let mut lines = vec![screen::paint("1", MODEL)];
    for variant in quality["variants"].as_array().into_iter().flatten() {
        for version in variant["versions"].as_array().into_iter().flatten() {
            if version["feedback"].as_u64().unwrap_or_default() > 0 {
                let name = variant["name"].as_str().unwrap_or("?");
                lines.push(format!("  {}", of_version(name, version)));
            }
        }
    }
    lines.join("\n")
}

fn of_version(variant: &str, version: &Value) -> String {
    let share = |value: &Value| {
        let share = value.as_f64();
        share.map_or_else(|| "unknown".to_owned(), |share| format!("{share:.3}"))
    };
    let mut text = format!(
        "{variant} version {}: accuracy {} of {} predictions, {} in the validation of its training",
        version["version"].as_str().unwrap_or("?"),
        share(&version["accuracy"]),
        version["feedback"],
        share(&version["validation_accuracy"]),
    );
    let window = &version["window"];
    if window.is_object() {
        let interval = &window["accuracy_interval95"];
        let _ = write!(
            text,
            "; last window of {}: {} ({} to {} with 95 % confidence), estimated {}",
            window["rows"],
            share(&window["accuracy"]),
            share(&interval[0]),
            share(&interval[1]),
            share(&window["estimated_accuracy"]),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turned_labels_are_the_share_and_spread() {
        let mut wines = vec![(String::new(), "high"); 100];
        turn(&mut wines, 0.25);
        let turned: Vec<usize> = (0..100).filter(|at| wines[*at].1 == "low").collect();
        assert_eq!(turned.len(), 25);
        assert_eq!(turned[..3], [3, 7, 11]);
        turn(&mut wines, 0.0);
        assert_eq!(
            wines.iter().filter(|(_, label)| *label == "low").count(),
            25
        );
    }

    #[test]
    fn a_version_has_a_sentence_and_unknown_figures_say_so() {
        let version = json!({"version": "2", "accuracy": 0.75, "feedback": 320, "validation_accuracy": 0.79, "window": {
            "rows": 100, "accuracy": 0.7, "accuracy_interval95": [0.604, 0.781], "estimated_accuracy": 0.81}});
        assert_eq!(
            of_version("primary", &version),
            "primary version 2: accuracy 0.750 of 320 predictions, 0.790 in the validation of its training; last window of 100: 0.700 (0.604 to 0.781 with 95 % confidence), estimated 0.810"
        );
        let text = of_version(
            "kserve",
            &json!({"version": "", "accuracy": 1.0, "feedback": 3}),
        );
        assert!(text.contains("unknown in the validation"), "{text}");
    }
}
