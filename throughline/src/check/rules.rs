//! The alert rules: one for errors, one for latency and one for a field of the model match what is
//! provoked, and a connector receives their alerts.

mod rule;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Checklist;
use super::gateway::{Answer, Ask};
use super::json_client::JsonClient;
use super::place::{Elasticsearch, Place};
use super::report::Row;
use super::wait::{Look, until};
use rule::{RULES, Rule};

const MATCHES: &str = "rule.matches";
const FIRES: &str = "rule.fires";
/// Where the index connector of `deploy/elastic/connectors` writes.
const ALERTS: &str = "throughline-alerts";
/// Beyond its interval, a rule that Kibana runs late.
const KIBANA_DELAY: Duration = Duration::from_mins(1);
const ALLOW: &str =
    "the gateway ignores faults on purpose; start it with --allow-faults to provoke this rule";
/// Slower than the rule for latency allows.
const SLOW: &str = "gateway:latency:600";
/// Predictions that are computed in search of unsure ones; about one in seven is.
const MAX_PREDICTIONS: u64 = 400;

impl Checklist {
    pub(super) async fn rules_fire(&mut self) {
        let reason = match &self.place {
            Place::Elasticsearch(_) if self.args.rules => None,
            Place::Elasticsearch(_) => {
                Some("provoking it alerts whoever listens; ask for it with --rules")
            }
            Place::Explorer(_) => {
                Some("the explorer has no alert rules; those of deploy/elastic run in Kibana")
            }
            Place::Jaeger(_) => Some("Jaeger has no alert rules"),
        };
        for name in RULES {
            match reason {
                Some(reason) => {
                    for check in [MATCHES, FIRES] {
                        self.report.add(Row::skipped(check, reason).of(name));
                    }
                }
                None => self.rule(name).await,
            }
        }
    }

    async fn rule(&mut self, name: &'static str) {
        let since = SystemTime::now();
        let rows = match self.judge_rule(name, since).await {
            Ok(rows) => rows,
            Err(error) => {
                let remedy = "See the log of the server that the error names.";
                vec![Row::failed(MATCHES, format!("{error:#}"), remedy)]
            }
        };
        for row in rows {
            self.report.add(row.of(name));
        }
    }

    async fn judge_rule(&mut self, name: &str, since: SystemTime) -> anyhow::Result<Vec<Row>> {
        let rule = Rule::read(name)?;
        let kibana = self.args.kibana.as_deref().map(Kibana::new).transpose()?;
        let was_active = match &kibana {
            Some(kibana) => kibana.state(&rule).await?.is_active,
            None => false,
        };
        if let Err(why) = self.provoke_rule(name, &rule).await? {
            return Ok(vec![
                Row::skipped(MATCHES, why.clone()),
                Row::skipped(FIRES, why),
            ]);
        }
        let Place::Elasticsearch(place) = &self.place else {
            return Ok(Vec::new());
        };
        let matches = self.matches(place, &rule).await;
        let fires = match kibana {
            None => Row::skipped(
                FIRES,
                "whether Kibana runs it was not looked at; name Kibana with --kibana",
            ),
            Some(kibana) => {
                let since = (!was_active).then_some(since);
                kibana.fires(place, &rule, since).await?
            }
        };
        Ok(vec![matches, fires])
    }

    /// Makes more of what the rule looks for than its threshold; the inner error is why that is not
    /// possible.
    async fn provoke_rule(
        &mut self,
        name: &str,
        rule: &Rule,
    ) -> anyhow::Result<Result<(), String>> {
        let ask = |fault| Ask {
            fault: Some(fault),
            ..Ask::default()
        };
        match name {
            "errors" => {
                let failed = |answer: &Answer| answer.status.is_server_error();
                self.repeat(rule, ask("gateway:error"), failed).await
            }
            "latency" => {
                let slow = |answer: &Answer| answer.took >= Duration::from_millis(500);
                self.repeat(rule, ask(SLOW), slow).await
            }
            _ => self.unsure_predictions(rule).await,
        }
    }

    async fn repeat(
        &mut self,
        rule: &Rule,
        ask: Ask<'_>,
        provoked: impl Fn(&Answer) -> bool,
    ) -> anyhow::Result<Result<(), String>> {
        for _ in 0..=rule.threshold {
            let wine = self.wine();
            if !provoked(&self.gateway.predict(&wine, ask).await?) {
                return Ok(Err(ALLOW.to_owned()));
            }
        }
        Ok(Ok(()))
    }

    /// The rule counts the predictions of the service `model-service`.
    async fn unsure_predictions(&mut self, rule: &Rule) -> anyhow::Result<Result<(), String>> {
        let of_the_service = self.samples.iter().find(|sample| {
            let mut traces = sample.trace.iter();
            traces.any(|trace| trace.services().contains(&"model-service"))
        });
        let Some(sample) = of_the_service else {
            return Ok(Err(
                "no sample's trace has the service model-service".to_owned()
            ));
        };
        let variant = sample.variant.clone();
        let mut unsure = 0;
        for _ in 0..MAX_PREDICTIONS {
            let wine = self.wine();
            let ask = Ask {
                variant: variant.as_deref(),
                compute: true,
                ..Ask::default()
            };
            let answer = self.gateway.predict(&wine, ask).await?;
            let confidence = answer.prediction()["confidence"].as_f64();
            unsure += u64::from(confidence.is_some_and(|confidence| confidence < 0.6));
            if unsure > rule.threshold {
                return Ok(Ok(()));
            }
        }
        Ok(Err(format!(
            "only {unsure} of {MAX_PREDICTIONS} predictions are unsure, and the rule fires above {}",
            rule.threshold
        )))
    }

    /// The rule's own query, as Kibana combines it with its window, finds what was provoked.
    async fn matches(&self, place: &Elasticsearch, rule: &Rule) -> Row {
        let deadline = Instant::now() + self.args.timeout;
        let found = until(deadline, async || {
            let count = place.count(&rule.index, &rule.query).await?;
            let detail = format!("{count} in {}, fires above {}", rule.window, rule.threshold);
            Ok(if count > rule.threshold {
                Look::Found(detail)
            } else {
                Look::Missing(detail)
            })
        })
        .await;
        match found {
            Ok(detail) => Row::passed(MATCHES, detail),
            Err(missing) => Row::failed(
                MATCHES,
                missing,
                "What was provoked is not where the rule looks: compare the data streams and fields with docs/elastic.md. Sampling changes counts.",
            ),
        }
    }
}

/// Kibana, which runs the rules.
struct Kibana {
    client: JsonClient,
}

/// What Kibana says of a rule.
struct RuleState {
    exists: bool,
    enabled: bool,
    is_active: bool,
}

impl Kibana {
    fn new(url: &str) -> anyhow::Result<Self> {
        let names = ("Kibana", "--kibana");
        Ok(Self {
            client: JsonClient::new(url, names, Some("KIBANA_API_KEY"))?,
        })
    }

    async fn state(&self, rule: &Rule) -> anyhow::Result<RuleState> {
        let answer = self
            .client
            .get(&format!("/api/alerting/rule/{}", rule.id))
            .await?;
        let exists = answer.is_some();
        let state: Value = match answer {
            Some(answer) => self.client.parse(&answer)?,
            None => Value::Null,
        };
        Ok(RuleState {
            exists,
            enabled: state["enabled"] == true,
            is_active: state["execution_status"]["status"] == "active",
        })
    }

    /// The index connector wrote an alert of the rule. An alert that is active already is not sent
    /// again, so its earlier document counts; then `since` is `None`.
    async fn fires(
        &self,
        place: &Elasticsearch,
        rule: &Rule,
        since: Option<SystemTime>,
    ) -> anyhow::Result<Row> {
        let state = self.state(rule).await?;
        if !state.exists || !state.enabled {
            let detail = if state.exists {
                "the rule is disabled"
            } else {
                "Kibana has no such rule"
            };
            let remedy =
                "Create the rules and connectors: deploy/elastic/apply.sh (docs/elastic.md).";
            return Ok(Row::failed(FIRES, detail, remedy));
        }
        let mut filters = vec![json!({"match_phrase": {"rule.id": rule.id}})];
        if let Some(since) = since {
            let since = since.duration_since(UNIX_EPOCH)?.as_millis().to_string();
            filters
                .push(json!({"range": {"@timestamp": {"gte": since, "format": "epoch_millis"}}}));
        }
        let query = json!({"bool": {"filter": filters}});
        let deadline = Instant::now() + rule.interval + KIBANA_DELAY;
        let found = until(deadline, async || {
            let count = place.count(ALERTS, &query).await?;
            Ok(if count > 0 {
                Look::Found(count)
            } else {
                Look::Missing(format!("no document of the rule in {ALERTS}"))
            })
        })
        .await;
        Ok(match found {
            Ok(count) => Row::passed(
                FIRES,
                format!("{count} alerts in {ALERTS}, by the index connector"),
            ),
            Err(missing) => Row::failed(
                FIRES,
                missing,
                "Look at the rule in Kibana, Observability → Alerts → Manage rules: its last response and its actions.",
            ),
        })
    }
}
