//! Several variants of one model in a whole system: which one answers for which id, why, and the
//! telemetry of the choice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use explorer::tree;
use harness::{Trace, eventually};
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{JsonAnswer, PythonSystem, Routed, Site, is_whole, model, start};

/// Data ids of wines, `wine-0001` first.
fn wines(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| format!("wine-{number:04}"))
        .collect()
}

/// The variant that answered for each id, asked in batches of a hundred.
fn variants_of(site: &Site, ids: &[String], baggage: &str) -> Result<BTreeMap<String, String>> {
    let mut variants = BTreeMap::new();
    for batch in ids.chunks(100) {
        let ids: Vec<&str> = batch.iter().map(String::as_str).collect();
        let answer = site.predict_with(&ids, &[("baggage", baggage)])?;
        anyhow::ensure!(answer.status == StatusCode::OK, "{}", answer.body);
        for entry in answer.body["predictions"].as_array().into_iter().flatten() {
            let text = |key: &str| {
                entry[key]
                    .as_str()
                    .map(str::to_owned)
                    .with_context(|| format!("{key} in {entry}"))
            };
            variants.insert(text("data_id")?, text("variant")?);
        }
    }
    Ok(variants)
}

/// The ids that a variant answered for.
fn answered_by<'a>(variants: &'a BTreeMap<String, String>, name: &str) -> BTreeSet<&'a str> {
    variants
        .iter()
        .filter(|(_, variant)| *variant == name)
        .map(|(id, _)| id.as_str())
        .collect()
}

/// Whether a count out of `of` fits a probability of `share`; a right split fails once in sixteen
/// thousand times (z = 4).
fn is_binomial(count: usize, of: usize, share: f64) -> bool {
    let (mean, deviation) = (
        of as f64 * share,
        (of as f64 * share * (1.0 - share)).sqrt(),
    );
    (count as f64 - mean).abs() <= 4.0 * deviation
}

/// The choices that the gateway logs in a trace: variant and reason.
fn choices(site: &Site, answer: &JsonAnswer, count: usize) -> Result<Vec<Value>> {
    let trace_id = answer.trace_id();
    let is_choice = |log: &Value| log["event_name"] == "feature_flag.evaluation";
    eventually("the choices arrive", || {
        let logs = site.logs(&trace_id, count)?;
        let choices: Vec<_> = logs.into_iter().filter(is_choice).collect();
        Ok((choices.len() >= count).then_some(choices))
    })
}

/// A choice without the fields that differ from run to run.
fn variant_and_reason(choice: &Value) -> Value {
    let attributes = &choice["attributes"];
    let of = |name: &str| attributes[format!("feature_flag.{name}")].clone();
    json!([
        of("key"),
        of("result.variant"),
        of("result.reason"),
        attributes["error.type"]
    ])
}

/// The entry of a variant in `GET /v1/models`.
fn variant(site: &Site, name: &str) -> Result<Value> {
    let answer = site.get(&format!("{}/v1/models", site.urls.gateway))?.body;
    let mut variants = model(&answer, "wine_quality")["variants"]
        .as_array()
        .into_iter()
        .flatten();
    variants
        .find(|variant| variant["name"] == name)
        .cloned()
        .with_context(|| format!("no {name} in {answer}"))
}

#[test]
fn nine_of_ten_ids_are_answered_in_rust() -> Result<()> {
    let system = PythonSystem::shared();
    let ids = wines(1..=1000);
    let variants = variants_of(system, &ids, "")?;
    assert_eq!(variants.len(), 1000);
    let python = answered_by(&variants, "canary");
    assert!(
        is_binomial(python.len(), 1000, 0.1),
        "{} of 1000 ids at a weight of 10 %",
        python.len()
    );
    assert_eq!(
        answered_by(&variants, "primary").len(),
        1000 - python.len(),
        "there is no third variant"
    );

    // Other batches in another order, and ids alone: the same id has the same variant.
    let shuffled = wines((0..200).map(|place| (place * 37) % 200 + 1));
    let again = variants_of(system, &shuffled, "")?;
    assert!(
        again.iter().all(|(id, variant)| variants[id] == *variant),
        "{again:?}"
    );
    let single = *python.first().context("one of a thousand")?;
    assert_eq!(
        system.predict(&[single])?.prediction(0)["variant"],
        "canary"
    );

    // All ids of one person have the same variant; another person's may have another.
    let mut of_persons = BTreeSet::new();
    for person in 0..60 {
        let variants = variants_of(system, &ids[..3], &format!("user.id=person-{person}"))?;
        let names: BTreeSet<String> = variants.into_values().collect();
        assert_eq!(names.len(), 1, "one person has {names:?}");
        of_persons.extend(names);
    }
    assert_eq!(of_persons.len(), 2, "sixty persons have {of_persons:?}");
    Ok(())
}

#[test]
fn each_choice_is_logged_in_the_trace() -> Result<()> {
    let system = PythonSystem::shared();
    let ids = wines(1101..=1160);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let both = system.predict(&ids)?;
    let mut split: Vec<_> = choices(system, &both, 2)?
        .iter()
        .map(variant_and_reason)
        .collect();
    split.sort_by_key(Value::to_string);
    let expected = ["canary", "primary"].map(|name| json!(["wine_quality", name, "split", null]));
    assert_eq!(split, expected, "one record for each variant of the batch");

    let forced = system.predict_with(&["wine-1161"], &[("baggage", "ml.variant=canary")])?;
    let choices = choices(system, &forced, 1)?;
    assert_eq!(
        choices.iter().map(variant_and_reason).collect::<Vec<_>>(),
        [json!(["wine_quality", "canary", "targeting_match", null])]
    );
    let root = forced.span();
    assert_eq!(
        json!([choices[0]["trace_id"], choices[0]["span_id"]]),
        json!([root.trace_id.to_string(), root.span_id.to_string()])
    );

    let wrong = [("baggage", "ml.variant=nobody")];
    assert_eq!(
        system.predict_with(&["wine-1161"], &wrong)?.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let infer = format!("{}/v2/models/wine_quality/infer", system.urls.gateway);
    assert_eq!(
        system.post(&infer, "{}", &wrong)?.status,
        StatusCode::BAD_REQUEST
    );
    Ok(())
}

#[test]
fn variants_are_compared_by_the_gateway_and_by_the_command() -> Result<()> {
    let system = PythonSystem::shared();
    let ids = wines(1201..=1300);
    let by = |name: &str| variants_of(system, &ids, &format!("ml.variant={name}"));
    assert_eq!(answered_by(&by("primary")?, "primary").len(), 100);
    assert_eq!(answered_by(&by("canary")?, "canary").len(), 100);
    let canary = variant(system, "canary")?;
    assert_eq!(
        json!([
            canary["mode"],
            canary["weight"],
            canary["health"],
            canary["version"]
        ]),
        json!(["active", 10, "ready", "2"])
    );
    let statistics = &canary["statistics"];
    let number = |value: &Value| {
        value
            .as_f64()
            .with_context(|| format!("no number in {statistics}"))
    };
    let agreement = &statistics["agreement"];
    let (pairs, share) = (number(&agreement["pairs"])?, number(&agreement["share"])?);
    let (low, high) = (
        number(&agreement["interval95"][0])?,
        number(&agreement["interval95"][1])?,
    );
    assert!(
        pairs >= 100.0 && share > 0.6 && share <= 1.0 && low < share && share <= high && low > 0.5,
        "{agreement}"
    );
    assert!(
        number(&statistics["calls"])? >= 1.0
            && number(&statistics["latency_seconds"]["p50"])? > 0.0,
        "{statistics}"
    );
    assert!(
        (0.5..1.0).contains(&number(&statistics["confidence_mean"])?),
        "{statistics}"
    );
    let shares =
        number(&statistics["label_shares"]["low"])? + number(&statistics["label_shares"]["high"])?;
    assert!((shares - 1.0).abs() < 1e-9, "{statistics}");

    let mut command = start(&["variants", "--gateway", &system.urls.gateway], &[])?;
    assert!(command.wait()?.success(), "{}", command.output());
    let said = command.output();
    for expected in [
        "wine_quality",
        "  primary",
        "  canary",
        "canary agrees with primary on ",
        "with 95 % confidence",
    ] {
        assert!(said.contains(expected), "nothing of {expected:?}:\n{said}");
    }
    Ok(())
}

#[test]
fn a_changed_weight_moves_only_the_ids_that_must_move() -> Result<()> {
    let routed = Routed::start(&[])?;
    let ids = wines(1..=1000);
    let mut before: BTreeMap<String, String> = ids
        .iter()
        .map(|id| (id.clone(), "primary".to_owned()))
        .collect();
    for weight in [10, 30, 50] {
        routed.route(100 - weight, &format!("weight = {weight}"), false)?;
        let after = variants_of(&routed.system, &ids, "")?;
        let (old, new) = (
            answered_by(&before, "canary"),
            answered_by(&after, "canary"),
        );
        assert!(
            is_binomial(new.len(), 1000, f64::from(weight) / 100.0),
            "{} of 1000 at {weight} %",
            new.len()
        );
        assert!(
            old.is_subset(&new),
            "ids left the canary when its weight grew"
        );
        before = after;
    }
    routed.route(70, "weight = 30", false)?;
    let back = variants_of(&routed.system, &ids, "")?;
    let (old, new) = (answered_by(&before, "canary"), answered_by(&back, "canary"));
    assert!(
        new.is_subset(&old) && new.len() < old.len(),
        "ids came to the canary when its weight shrank"
    );

    // A wrong file changes nothing, and is logged.
    std::fs::write(&routed.file, "[models.wine_quality]\nweights = 3\n")?;
    let ready = format!("{}/readyz", routed.system.urls.gateway);
    eventually("the wrong file is reported", || {
        let answer = routed.system.get(&ready)?;
        let reported = answer.status == StatusCode::OK
            && answer.body["detail"].to_string().contains("routes.toml");
        Ok(reported.then_some(()))
    })?;
    assert_eq!(variants_of(&routed.system, &ids[..100], "")?.len(), 100);
    assert!(
        variants_of(&routed.system, &ids[..100], "")?
            .iter()
            .all(|(id, variant)| back[id] == *variant)
    );
    Ok(())
}

/// The trace of an answer, once `whole` accepts it.
fn trace(site: &Site, answer: &JsonAnswer, whole: impl Fn(&Trace) -> bool) -> Result<Trace> {
    let trace_id = answer.trace_id();
    let mut last = String::new();
    let found = eventually("the trace is whole", || {
        let Some(trace) = site.trace(&trace_id)? else {
            return Ok(None);
        };
        last = format!("{}{:?}", tree::outline(&trace), tree::problems(&trace));
        Ok((is_whole(&trace) && whole(&trace)).then_some(trace))
    });
    found.with_context(|| last)
}

/// The variants that the gateway called in a trace, in the order of the calls, with the error
/// types.
fn called(trace: &Trace) -> Vec<(String, Option<String>)> {
    let calls = trace
        .spans
        .iter()
        .filter(|span| span.service == "gateway" && span.name == "POST");
    calls
        .map(|span| {
            (
                span.text("ml.variant").unwrap_or_default(),
                span.text("error.type"),
            )
        })
        .collect()
}

#[test]
fn a_shadow_is_called_and_compared_and_never_answers() -> Result<()> {
    let routed = Routed::start(&[])?;
    routed.route(100, "mode = \"shadow\"", false)?;
    let ids = wines(1..=20);
    let variants = variants_of(&routed.system, &ids, "")?;
    assert_eq!(answered_by(&variants, "primary").len(), 20);
    let answer = routed.system.predict(&["wine-0021"])?;
    let predicted = |trace: &Trace| {
        trace
            .spans
            .iter()
            .filter(|span| span.name == "predict wine_quality")
            .count()
            == 2
    };
    let trace = trace(&routed.system, &answer, predicted)?;
    let mut called = called(&trace);
    called.sort();
    assert_eq!(
        called,
        [("canary".to_owned(), None), ("primary".to_owned(), None)]
    );
    let of_spans: BTreeSet<_> = trace
        .spans
        .iter()
        .filter(|span| span.name == "predict wine_quality")
        .filter_map(|span| span.text("ml.variant"))
        .collect();
    assert_eq!(
        of_spans,
        BTreeSet::from(["canary".to_owned(), "primary".to_owned()])
    );

    let shadow = eventually("the shadow is compared on all ids", || {
        let shadow = variant(&routed.system, "canary")?;
        Ok((shadow["statistics"]["agreement"]["pairs"] == json!(21)).then_some(shadow))
    })?;
    // It is the same program with the same model.
    assert_eq!(
        shadow["statistics"]["agreement"]["agreed"],
        json!(21),
        "{shadow}"
    );
    assert_eq!(
        json!([shadow["mode"], shadow["weight"]]),
        json!(["shadow", null])
    );
    let forced = routed
        .system
        .predict_with(&["wine-0001"], &[("baggage", "ml.variant=canary")])?;
    assert_eq!(
        forced.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "a shadow cannot be asked for: {}",
        forced.body
    );
    Ok(())
}

#[test]
fn fail_over_is_a_setting_and_stands_in_the_trace() -> Result<()> {
    let mut routed = Routed::start(&[])?;
    routed.route(1, "weight = 99", false)?;
    let variants = variants_of(&routed.system, &wines(1..=60), "")?;
    let of_canary: Vec<&str> = answered_by(&variants, "canary").into_iter().collect();
    let new = wines(201..=230);
    routed.canary.take().context("it runs")?.kill()?;
    let system = &routed.system;

    // Without the setting a failed variant is a failed request; what it had stored still answers.
    let failed: Vec<JsonAnswer> = new
        .iter()
        .map(|id| system.predict(&[id]))
        .collect::<Result<_>>()?;
    let (down, up): (Vec<_>, Vec<_>) = failed
        .iter()
        .partition(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(down.len() >= 20, "{} of 30 requests fail", down.len());
    assert!(
        up.iter()
            .all(|answer| answer.prediction(0)["variant"] == "primary")
    );
    assert_eq!(
        system.predict(&of_canary[..1])?.prediction(0)["cached"],
        json!(true)
    );

    routed.route(1, "weight = 99", true)?;
    let id = new
        .iter()
        .zip(&failed)
        .find(|(_, answer)| answer.status != StatusCode::OK)
        .context("one failed")?
        .0;
    let answer = system.predict(&[id])?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(
        answer.prediction(0)["variant"],
        "primary",
        "{}",
        answer.body
    );
    let mut choices = choices(system, &answer, 2)?;
    choices.sort_by_key(|choice| choice["time"].as_str().map(str::to_owned));
    let choices: Vec<_> = choices.iter().map(variant_and_reason).collect();
    let expected = [
        json!(["wine_quality", "canary", "split", null]),
        json!(["wine_quality", "primary", "default", "model_unavailable"]),
    ];
    assert_eq!(choices, expected);
    let trace = trace(system, &answer, |trace| {
        trace.span("predict wine_quality").is_some()
    })?;
    let root = trace.span("POST /v1/predictions").context("a root")?;
    assert_eq!(root.text("ml.variant").as_deref(), Some("primary"));
    assert_eq!(root.text("ml.variant.failed").as_deref(), Some("canary"));
    assert!(!root.is_error(), "the request was answered");
    let calls = called(&trace);
    assert_eq!(
        calls.last(),
        Some(&("primary".to_owned(), None)),
        "{calls:?}"
    );
    let forced = system.predict_with(&["wine-0300"], &[("baggage", "ml.variant=canary")])?;
    assert_eq!(
        forced.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "who asks for a variant wants no other: {}",
        forced.body
    );
    Ok(())
}
