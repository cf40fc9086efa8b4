//! Several variants of a model: which one answers, its stored predictions, and their comparison.

mod changes;
mod fail_over;
mod services;
mod shadows;
mod through;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::fake::Fake;
use super::harness::{Gateway, Reply, Setup};

/// The options of a model in the routes file, and those of the gateway.
#[derive(Default)]
struct Options {
    fail_over: bool,
    setup: Setup,
}

/// A gateway whose `primary` predicts `high` and is its own fake, and `canary` and others.
struct VariantGateway {
    gateway: Gateway,
    others: Vec<Fake>,
    file: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl VariantGateway {
    /// `variants` are pairs of a name and a weight, or `shadow`.
    async fn start(variants: &[(&'static str, &str)], options: Options) -> Self {
        let mut others = Vec::new();
        for (name, _) in variants.iter().filter(|(name, _)| *name != "primary") {
            others.push((*name, Fake::predicting("low").await));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("routes.toml");
        std::fs::write(&file, routes(variants, options.fail_over)).unwrap();
        let services = others
            .iter()
            .map(|(name, fake)| format!("{name}=http://{}", fake.address))
            .collect();
        let gateway = Gateway::with(Setup {
            services,
            routes: Some(file.clone()),
            ..options.setup
        })
        .await;
        Self {
            gateway,
            others: others.into_iter().map(|(_, fake)| fake).collect(),
            file,
            _folder: folder,
        }
    }

    async fn halves() -> Self {
        Self::start(&[("primary", "50"), ("canary", "50")], Options::default()).await
    }

    fn canary(&self) -> &Fake {
        &self.others[0]
    }

    /// Asks for predictions of wines with `baggage`.
    async fn predict(&self, ids: &[&str], baggage: &str) -> Reply {
        let body = json!({"model": "wine_quality", "data_ids": ids}).to_string();
        self.gateway
            .post("/v1/predictions", &[("baggage", baggage)], body)
            .await
    }

    /// Writes other weights into the routes file.
    fn change(&self, variants: &[(&str, &str)]) {
        std::fs::write(&self.file, routes(variants, false)).unwrap();
    }

    /// A variant of `wine_quality` in `/v1/models`.
    async fn variant(&self, name: &str) -> Value {
        let models = self.gateway.get("/v1/models").await.json();
        let wine = models["models"]
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["name"] == "wine_quality")
            .unwrap();
        wine["variants"]
            .as_array()
            .unwrap()
            .iter()
            .find(|variant| variant["name"] == name)
            .unwrap()
            .clone()
    }
}

fn routes(variants: &[(&str, &str)], fail_over: bool) -> String {
    let mut text = format!("[models.wine_quality]\nfail_over = {fail_over}\n");
    for model in ["wine_quality", "echo"] {
        for (name, weight) in variants {
            let how = if *weight == "shadow" {
                "mode = \"shadow\"".to_owned()
            } else {
                format!("weight = {weight}")
            };
            write!(
                text,
                "[[models.{model}.variants]]\nname = \"{name}\"\n{how}\n"
            )
            .unwrap();
        }
    }
    text
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("id-{n}")).collect()
}

fn refs(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_batch_makes_one_lookup_and_one_call_for_each_variant() {
    let split = VariantGateway::halves().await;
    let ids = ids(40);
    let reply = split.gateway.predict(&refs(&ids)).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=miss; stored")
    );
    let expected: Vec<String> = ids.clone();
    assert_eq!(reply.each("data_id"), expected, "the order is that asked");
    for (variant, label) in reply.each("variant").iter().zip(reply.each("label")) {
        assert_eq!(label, if variant == "primary" { "high" } else { "low" });
    }
    let (primary, canary) = (split.gateway.fake.calls(), split.canary().calls());
    assert_eq!(
        (primary.len(), canary.len()),
        (1, 1),
        "one call for each variant"
    );
    let asked: BTreeSet<&String> = primary[0].values.iter().chain(&canary[0].values).collect();
    assert_eq!(
        (
            asked.len(),
            primary[0].values.len() + canary[0].values.len()
        ),
        (40, 40)
    );
    assert!(primary[0].values.len() > 5 && canary[0].values.len() > 5);

    let again = split.gateway.predict(&refs(&ids)).await;
    assert_eq!(
        (again.cache_status(), again.each("variant")),
        ("throughline; hit", reply.each("variant"))
    );
    assert_eq!(
        *split.gateway.store.lookups.lock().unwrap(),
        [40, 40],
        "one lookup for all ids of a request"
    );
    let duplicates = split
        .gateway
        .predict(&["id-1", "id-2", "id-1", "id-3"])
        .await;
    assert_eq!(duplicates.each("variant")[0], duplicates.each("variant")[2]);
}

#[tokio::test]
async fn a_request_may_name_a_variant_and_a_user_keeps_one() {
    let split = VariantGateway::halves().await;
    let ids = ids(20);
    for name in ["canary", "primary"] {
        let reply = split
            .predict(&refs(&ids), &format!("ml.variant={name}"))
            .await;
        assert!(reply.each("variant").iter().all(|variant| variant == name));
        let baggage = format!("x=y,ml.variant={name}");
        let one = split
            .gateway
            .get_with(
                "/v1/predictions/wine_quality/id-1",
                &[("baggage", &baggage)],
            )
            .await;
        assert_eq!(one.json()["variant"], name);
    }
    let mut seen = BTreeSet::new();
    for user in 0..12 {
        let reply = split
            .predict(&refs(&ids), &format!("user.id=user-{user}"))
            .await;
        let variants: BTreeSet<String> = reply
            .each("variant")
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            variants.len(),
            1,
            "one variant for everything that a user asks"
        );
        seen.extend(variants);
    }
    assert_eq!(seen.len(), 2);
    for baggage in [
        "ml.variant=nobody",
        "ml.variant=%00%01",
        "ml.variant=../../etc",
    ] {
        let reply = split.predict(&["a"], baggage).await;
        assert_eq!(reply.problem(422), "unknown_variant");
        assert!(
            !reply.json()["detail"].as_str().unwrap().contains("etc"),
            "an invalid name is not repeated"
        );
    }
    // The services get the baggage unchanged, for the services behind them.
    let calls = split.canary().calls();
    assert!(calls.iter().any(|call| {
        call.headers
            .get("baggage")
            .is_none_or(|baggage| baggage == "ml.variant=canary")
    }));
}

#[tokio::test]
async fn a_variant_never_answers_with_the_prediction_of_another() {
    let split = VariantGateway::halves().await;
    // Without versions, only the variant distinguishes their predictions.
    for fake in [&split.gateway.fake, split.canary()] {
        fake.shared.versions.lock().unwrap().clear();
    }
    let known = async || {
        split.variant("primary").await["version"] == ""
            && split.variant("canary").await["version"] == ""
    };
    split.gateway.eventually("no versions", known).await;
    for (name, status) in [
        ("primary", "throughline; fwd=miss; stored"),
        ("canary", "throughline; fwd=miss; stored"),
        ("primary", "throughline; hit"),
        ("canary", "throughline; hit"),
    ] {
        let reply = split.predict(&["a"], &format!("ml.variant={name}")).await;
        assert_eq!(
            (reply.cache_status(), reply.each("variant")),
            (status, vec![json!(name)])
        );
        assert_eq!(
            reply.each("label"),
            [if name == "primary" { "high" } else { "low" }]
        );
        assert_eq!(reply.each("model_version"), [""]);
    }
    let found = split.gateway.get("/v1/predictions?variant=canary").await;
    assert_eq!(
        (found.each("data_id"), found.each("label")),
        (vec![json!("a")], vec![json!("low")])
    );
}

#[tokio::test]
async fn a_variant_that_fails_does_not_affect_the_rows_of_others() {
    let mut split = VariantGateway::halves().await;
    let ids = ids(20);
    split.others[0].stop().await;
    let reply = split.gateway.predict(&refs(&ids)).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=miss; stored")
    );
    let answered = reply
        .each("variant")
        .iter()
        .filter(|variant| *variant == "primary")
        .count();
    let failed = reply
        .each("error")
        .iter()
        .filter(|error| error["code"] == "model_unavailable")
        .count();
    assert!(
        answered > 0 && failed > 0 && answered + failed == 20,
        "{answered} {failed}"
    );
    assert_eq!(
        split.gateway.fake.calls()[0].values.len(),
        answered,
        "no other variant was called"
    );
    let reply = split.predict(&["id-1"], "ml.variant=canary").await;
    assert_eq!(reply.problem(503), "model_unavailable");
}

#[tokio::test]
async fn without_a_routes_file_other_variants_answer_only_by_name() {
    let canary = Fake::predicting("low").await;
    let services = vec![format!("canary=http://{}", canary.address)];
    let gateway = Gateway::with(Setup {
        services,
        ..Setup::default()
    })
    .await;
    let ids = ids(20);
    assert!(
        gateway
            .predict(&refs(&ids))
            .await
            .each("variant")
            .iter()
            .all(|variant| variant == "primary")
    );
    assert_eq!(canary.calls().len(), 0);
    let forced = [("baggage", "ml.variant=canary")];
    assert_eq!(
        gateway
            .get_with("/v1/predictions/wine_quality/id-1", &forced)
            .await
            .json()["label"],
        "low"
    );
    // The same for texts.
    let body = json!({"model": "text_sentiment", "texts": ["good"]}).to_string();
    assert_eq!(
        gateway
            .post("/v1/predictions", &forced, body)
            .await
            .each("variant"),
        ["canary"]
    );
}

#[tokio::test]
async fn variants_are_compared() {
    let split = VariantGateway::start(
        &[("primary", "50"), ("canary", "50"), ("kserve", "shadow")],
        Options::default(),
    )
    .await;
    *split.others[1].shared.label.lock().unwrap() = "high";
    let ids = ids(30);
    for name in ["primary", "canary", "primary", "canary"] {
        split
            .predict(&refs(&ids), &format!("ml.variant={name}"))
            .await;
    }
    let compared = async || split.variant("kserve").await["statistics"]["agreement"]["pairs"] == 30;
    split
        .gateway
        .eventually("the shadow has answered", compared)
        .await;
    let primary = split.variant("primary").await;
    let statistics = &primary["statistics"];
    assert_eq!(
        (&primary["mode"], &primary["weight"], &primary["health"]),
        (&json!("active"), &json!(50), &json!("ready"))
    );
    assert_eq!(
        (
            &statistics["calls"],
            &statistics["errors"],
            &statistics["predictions"]
        ),
        (&json!(1), &json!(0), &json!(30))
    );
    assert_eq!(
        (&statistics["confidence_mean"], &statistics["label_shares"]),
        (&json!(0.75), &json!({"high": 1.0}))
    );
    assert_eq!(statistics["agreement"], Value::Null);
    let latency = &statistics["latency_seconds"];
    assert!(
        latency["p50"].as_f64().unwrap() > 0.0
            && latency["p95"].as_f64() >= latency["p50"].as_f64()
    );
    let canary = split.variant("canary").await["statistics"]["agreement"].clone();
    assert_eq!(
        (
            &canary["with"],
            &canary["pairs"],
            &canary["agreed"],
            &canary["share"]
        ),
        (&json!("primary"), &json!(30), &json!(0), &json!(0.0))
    );
    let bounds: Vec<f64> = canary["interval95"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bound| bound.as_f64().unwrap())
        .collect();
    assert!(
        bounds[0].abs() < 1e-9 && (bounds[1] - 0.1135).abs() < 1e-4,
        "{bounds:?}"
    );
    let kserve = split.variant("kserve").await;
    assert_eq!(
        (&kserve["mode"], &kserve["weight"]),
        (&json!("shadow"), &Value::Null)
    );
    assert_eq!(kserve["statistics"]["agreement"]["share"], 1.0);
    // What must not be stored does not take part in the comparison.
    split.gateway.predict_with(&["secret"], "no-store").await;
    let counted = async || {
        let calls = async |name| {
            split.variant(name).await["statistics"]["calls"]
                .as_u64()
                .unwrap()
        };
        calls("primary").await + calls("canary").await == 3
    };
    split
        .gateway
        .eventually("the call is counted", counted)
        .await;
    assert_eq!(
        split.variant("primary").await["statistics"]["predictions"],
        30
    );
}
