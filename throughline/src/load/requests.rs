//! The requests of each kind.

use anyhow::Context;
use bytes::Bytes;
use http::Request;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use super::args::LoadArgs;
use super::mix::{Kind, Mix};
use super::new_wine::{NewWine, features_of};
use super::outcome::Outcome;

use crate::data_sets::{self, WINE_FEATURES};
use crate::synthetic;

/// Wines whose predictions are stored before the load begins.
pub(super) const STORED: u32 = 100;
/// How far the shifted rows lie from it: beyond everything in the training data.
const SHIFT: f64 = 3.0;
/// Between the wines of a batch: neighbours are alike, and together they would be drift.
const BATCH_STEP: u32 = 701;
const TEXTS: [&str; 4] = [
    "The pictures are sharp and the camera is easy to use.",
    "After two weeks the player stopped working, and support did not answer.",
    "The phone is small and light, and reception is excellent.",
    "The buttons are too small, and the menu is a mess.",
];

/// What one arrival sends, drawn before the load so that a seed repeats it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) faulty: bool,
    pub(super) wine: u32,
    /// Whether a new wine lacks a feature.
    pub(super) lacks: bool,
    user: Option<u32>,
    /// Of a read-back: the variant whose prediction was stored.
    variant: Option<String>,
}

/// Draws plans and builds requests.
pub(crate) struct Requests {
    gateway: String,
    feature_store: Option<String>,
    mix: Mix,
    batch_size: u32,
    users: u32,
    variant: Option<String>,
    fault: Option<String>,
    fault_share: f64,
    missing: f64,
    keep_alive: bool,
}

impl Requests {
    pub(super) fn new(args: &LoadArgs, mix: Mix) -> Self {
        Self {
            gateway: args.gateway.url.clone(),
            feature_store: args.feature_store.clone(),
            mix,
            batch_size: args.batch_size,
            users: args.users,
            variant: args.variant.clone(),
            fault: args.fault.clone(),
            fault_share: args.fault_share,
            missing: args.missing.unwrap_or_default(),
            keep_alive: !args.no_keep_alive,
        }
    }

    pub(super) fn plan(&self, random: &mut ChaCha8Rng) -> Plan {
        // Always the same number of draws, so that one option does not change the rest.
        let [kind, fault, missing]: [f64; 3] = random.random();
        let [wine, user]: [u32; 2] = random.random();
        let kind = self.mix.at(kind);
        let range = if kind == Kind::Hit {
            STORED
        } else {
            data_sets::WINES
        };
        Plan {
            kind,
            faulty: self.fault.is_some() && fault < self.fault_share,
            wine: wine % range + 1,
            lacks: missing < self.missing,
            user: (self.users > 0).then(|| user % self.users.max(1)),
            variant: None,
        }
    }

    /// The request of a plan; a write begins with [`Requests::push`].
    pub(super) fn build(&self, plan: &Plan) -> anyhow::Result<Request<Bytes>> {
        match plan.kind {
            Kind::Hit => self.predictions(plan, &json!({"data_ids": [wine(plan.wine)]}), false),
            Kind::Miss | Kind::Store | Kind::Write => {
                self.predictions(plan, &json!({"data_ids": [wine(plan.wine)]}), true)
            }
            Kind::Batch => {
                let at = |at: u32| (plan.wine + at * BATCH_STEP) % data_sets::WINES + 1;
                let wines: Vec<String> = (0..self.batch_size).map(|row| wine(at(row))).collect();
                self.predictions(plan, &json!({ "data_ids": wines }), true)
            }
            Kind::Text => {
                let text = TEXTS[plan.wine as usize % TEXTS.len()];
                self.predictions(
                    plan,
                    &json!({"model": "text_sentiment", "texts": [text]}),
                    true,
                )
            }
            Kind::Unknown => {
                let id = format!("unknown-{}", plan.wine);
                self.predictions(plan, &json!({"data_ids": [id]}), true)
            }
            Kind::Missing => self.tensor(plan, |at, value| if at == 10 { f64::NAN } else { value }),
            Kind::Shifted => self.tensor(plan, |_, value| value * SHIFT + SHIFT),
        }
    }

    /// The push of a new wine's features.
    pub(super) fn push(&self, plan: &Plan, wine: &NewWine) -> anyhow::Result<Request<Bytes>> {
        self.to_feature_store("/push", plan, &wine.push())
    }

    /// The first prediction of a new wine, which the gateway stores.
    pub(super) fn store(&self, plan: &Plan, wine: &NewWine) -> anyhow::Result<Request<Bytes>> {
        self.predictions(plan, &json!({"data_ids": [wine.id]}), false)
    }

    /// Features as they are stored.
    pub(super) fn read_features(&self, ids: &[&str]) -> anyhow::Result<Request<Bytes>> {
        let body = json!({"features": NewWine::features(), "entities": {"wine_id": ids}});
        self.to_feature_store("/get-online-features", &Plan::plain(), &body)
    }

    /// Predictions of a variant as they are stored; those that are not are errors. Without the
    /// variant the gateway would choose again, perhaps by other routes or for another user.
    pub(super) fn read_predictions(
        &self,
        ids: &[&str],
        variant: &str,
    ) -> anyhow::Result<Request<Bytes>> {
        let plan = Plan {
            variant: Some(variant.to_owned()),
            ..Plan::plain()
        };
        let body = json!({"model": "wine_quality", "data_ids": ids});
        let request = self.post(&self.gateway, "/v1/predictions", &plan);
        let request = request.header("cache-control", "only-if-cached");
        Ok(request.body(Bytes::from(body.to_string()))?)
    }

    fn predictions(
        &self,
        plan: &Plan,
        body: &Value,
        compute: bool,
    ) -> anyhow::Result<Request<Bytes>> {
        let mut body = body.clone();
        if body["model"].is_null() {
            body["model"] = json!("wine_quality");
        }
        let mut request = self.post(&self.gateway, "/v1/predictions", plan);
        if compute {
            request = request.header("cache-control", "no-cache");
        }
        Ok(request.body(Bytes::from(body.to_string()))?)
    }

    /// Features without an entity, as a tensor in binary: JSON has no NaN.
    fn tensor(
        &self,
        plan: &Plan,
        change: impl Fn(usize, f64) -> f64,
    ) -> anyhow::Result<Request<Bytes>> {
        let row = features_of(1).into_iter().enumerate();
        let row = row.map(|(at, value)| change(at, value) as f32);
        let bytes: Vec<u8> = row.flat_map(f32::to_le_bytes).collect();
        let input = json!({
            "name": "features",
            "datatype": "FP32",
            "shape": [1, WINE_FEATURES.len()],
            "parameters": {"binary_data_size": bytes.len()},
        });
        let header = json!({ "inputs": [input] }).to_string();
        let request = self.post(&self.gateway, "/v2/models/wine_quality/infer", plan);
        let request = request.header("inference-header-content-length", header.len());
        Ok(request.body(Bytes::from([header.as_bytes(), &bytes].concat()))?)
    }

    fn to_feature_store(
        &self,
        path: &str,
        plan: &Plan,
        body: &Value,
    ) -> anyhow::Result<Request<Bytes>> {
        let url = self.feature_store.as_deref();
        let url = url.context("writes need the address of the feature store: --feature-store")?;
        Ok(self
            .post(url, path, plan)
            .body(Bytes::from(body.to_string()))?)
    }

    fn post(&self, url: &str, path: &str, plan: &Plan) -> http::request::Builder {
        let mut baggage = vec![synthetic::BAGGAGE.to_owned()];
        let variant = plan.variant.as_ref().or(self.variant.as_ref());
        baggage.extend(variant.map(|name| format!("ml.variant={name}")));
        baggage.extend(plan.user.map(|user| format!("user.id=load-{user}")));
        let fault = self.fault.as_ref().filter(|_| plan.faulty);
        baggage.extend(fault.map(|fault| format!("fault={fault}")));
        let request = Request::post(format!("{url}{path}"))
            .header("content-type", "application/json")
            .header("user-agent", synthetic::user_agent("load"))
            .header("baggage", baggage.join(","));
        if self.keep_alive {
            request
        } else {
            request.header("connection", "close")
        }
    }
}

impl Plan {
    /// For the reads after the load.
    fn plain() -> Self {
        Self {
            kind: Kind::Hit,
            faulty: false,
            wine: 1,
            lacks: false,
            user: None,
            variant: None,
        }
    }

    /// A request for one stored wine, before the load.
    pub(super) fn hit(wine: u32) -> Self {
        Self {
            wine,
            ..Self::plain()
        }
    }

    /// Whether this is what the plan is answered by a system that works. A request with a fault may
    /// end in any way, since the fault may hit any part, or a stored prediction may do without it.
    pub(super) fn expects(&self, kind: Kind, outcome: &Outcome) -> bool {
        if *outcome == Outcome::NotSent {
            return false;
        }
        match kind {
            _ if self.faulty => true,
            Kind::Store if self.lacks => *outcome == Outcome::Status(422),
            Kind::Unknown => *outcome == Outcome::Status(404),
            _ => outcome.is_success(),
        }
    }
}

fn wine(number: u32) -> String {
    format!("wine-{number:04}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rand::SeedableRng;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn requests(options: &[&str]) -> Requests {
        let args = Options::parse_from([&["load"], options].concat()).args;
        let mix = args.mix.clone();
        Requests::new(&args, mix)
    }

    #[test]
    fn every_request_is_marked_as_synthetic() -> anyhow::Result<()> {
        let requests = requests(&[
            "--mix",
            "hit,miss,batch,text,unknown,missing,shifted",
            "--users",
            "3",
            "--variant",
            "canary",
            "--fault",
            "gateway:error",
            "--fault-share",
            "0.5",
        ]);
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (mut faulty, mut kinds) = (0, std::collections::BTreeSet::new());
        for _ in 0..400 {
            let plan = requests.plan(&mut random);
            let request = requests.build(&plan)?;
            let baggage = request.headers()["baggage"].to_str()?;
            assert!(baggage.starts_with("synthetic_request=true,ml.variant=canary,user.id=load-"));
            assert_eq!(
                baggage.ends_with(",fault=gateway:error"),
                plan.faulty,
                "{baggage}"
            );
            faulty += u32::from(plan.faulty);
            kinds.insert(plan.kind);
        }
        assert_eq!(kinds.len(), 7);
        // 200 expected; five standard deviations are 50.
        assert!((150..250).contains(&faulty), "{faulty}");
        Ok(())
    }

    #[test]
    fn what_is_expected_depends_on_the_kind_and_the_fault() {
        let plan = |kind, faulty| Plan {
            kind,
            faulty,
            ..Plan::plain()
        };
        for (kind, faulty, outcome, expected) in [
            (Kind::Hit, false, Outcome::Status(200), true),
            (Kind::Hit, false, Outcome::Status(404), false),
            (Kind::Hit, false, Outcome::ConnectionRefused, false),
            (Kind::Hit, true, Outcome::ConnectionReset, true),
            (Kind::Hit, true, Outcome::NotSent, false),
            (Kind::Unknown, false, Outcome::Status(404), true),
            (Kind::Unknown, false, Outcome::Status(200), false),
        ] {
            assert_eq!(
                plan(kind, faulty).expects(kind, &outcome),
                expected,
                "{kind:?} {outcome:?}"
            );
        }
    }
}
