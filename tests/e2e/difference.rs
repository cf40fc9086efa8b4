//! "What is different about these?" on the real system: for every kind of fault on purpose, the
//! first difference that the explorer names is where the fault was injected.

use std::cell::Cell;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use harness::eventually;
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{Routed, Site, System};

/// Requests of one scenario, every third of them with the fault.
const REQUESTS: usize = 24;
/// Far above what a request takes on a loaded machine, so that only the fault is this slow.
const SLOW: &str = "latency:2500";
const SELECT_SLOW: &str = "compare=selection&min=2000";
const SELECT_FAILED: &str = "compare=failed";
const KINDS: [(&str, &str); 3] = [
    (SLOW, SELECT_SLOW),
    ("error", SELECT_FAILED),
    ("drop", SELECT_FAILED),
];

/// Gives every request its own wines, so that all are misses.
struct Wines(Cell<usize>);

impl Wines {
    fn new() -> Wines {
        Wines(Cell::new(1))
    }

    fn take(&self, count: usize) -> Value {
        let first = self.0.replace(self.0.get() + count);
        let ids = (first..first + count).map(|number| format!("wine-{number:04}"));
        json!({ "model": "wine_quality", "data_ids": ids.collect::<Vec<_>>() })
    }
}

/// A request, and its baggage.
type Call = (Value, String);

/// Sends all calls at once and returns the first difference as soon as `is_named` accepts it.
fn first_difference(
    site: &Site,
    select: &str,
    calls: Vec<Call>,
    is_named: impl Fn(&Value) -> bool,
) -> Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let url = format!("{}/v1/predictions", site.urls.gateway);
    let count = calls.len();
    thread::scope(|scope| {
        for (body, baggage) in calls {
            let url = &url;
            // A dropped request has no answer.
            scope.spawn(move || {
                site.post(url, body.to_string(), &[("baggage", &baggage)])
                    .ok()
            });
        }
    });
    let explorer = &site.urls.explorer;
    let filter = format!("since={since}&where=http.route+is+/v1/predictions");
    eventually("all traces arrive", || {
        let listed = site.get(&format!("{explorer}/api/traces?{filter}&limit=1000"))?;
        let traces = listed.body["traces"].as_array().context("a list")?.clone();
        let complete = traces.iter().filter(|trace| trace["complete"] == true);
        Ok((complete.count() >= count).then_some(()))
    })?;
    let mut last = Value::Null;
    let named = eventually("the first difference names the fault", || {
        let found = site.get(&format!("{explorer}/api/difference?{filter}&{select}"))?;
        assert_eq!(found.status, StatusCode::OK, "{}", found.body);
        last = found.body;
        Ok(is_named(&last["ranked"][0]).then_some(()))
    });
    named.with_context(|| format!("{select}: {last:#}"))?;
    // The page says the same.
    let page = exchange_page(site, &format!("/?{filter}&{select}"))?;
    let name = last["ranked"][0]["name"].as_str().context("a name")?;
    let first = page
        .split("<ol class=\"ranked\">")
        .nth(1)
        .context("differences")?;
    let first = first.split("</li>").next().unwrap_or_default();
    assert!(first.contains(name), "{name} is not in {first}");
    Ok(())
}

fn exchange_page(site: &Site, path: &str) -> Result<String> {
    let url = format!("{}{path}", site.urls.explorer);
    let answer = crate::system::exchange(http::Request::get(url).body(bytes::Bytes::new())?)?;
    assert_eq!(answer.status, 200, "{path}");
    Ok(answer.text())
}

fn has_fault(number: usize) -> bool {
    number.is_multiple_of(3)
}

#[test]
fn a_fault_in_one_variant_is_named_by_the_variant() -> Result<()> {
    let routed = Routed::start(&[])?;
    routed.route(1, "weight = 1", false)?;
    let wines = Wines::new();
    for (kind, select) in KINDS {
        let call = |number: usize| {
            let baggage = if has_fault(number) {
                format!("ml.variant=canary,fault=model-service:{kind}")
            } else {
                "ml.variant=primary".to_owned()
            };
            (wines.take(1), baggage)
        };
        let calls = (0..REQUESTS).map(call).collect();
        first_difference(&routed.system, select, calls, |first| {
            first["name"] == "ml.variant" && first["categories"][0]["value"] == "canary"
        })?;
    }
    Ok(())
}

#[test]
fn a_fault_in_one_service_is_named_by_the_service() -> Result<()> {
    // The slow feature store is waited for.
    let system = System::start_with(&[("MODEL_SERVICE_FEATURE_TIMEOUT", "20s")])?;
    let wines = Wines::new();
    for service in ["gateway", "model-service", "feature-store"] {
        for (kind, select) in KINDS {
            let call = |number: usize| {
                let fault = format!("fault={service}:{kind}");
                (
                    wines.take(1),
                    if has_fault(number) {
                        fault
                    } else {
                        String::new()
                    },
                )
            };
            let calls = (0..REQUESTS).map(call).collect();
            let names = |text: &Value| text.as_str().is_some_and(|text| text.starts_with(service));
            first_difference(&system, select, calls, |first| match kind {
                SLOW => first["name"] == "time on the critical path" && names(&first["origin"]),
                _ => first["name"] == "error began in" && names(&first["categories"][0]["value"]),
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_fault_for_a_range_of_inputs_is_named_by_the_input() -> Result<()> {
    let system = System::start_with_texts()?;
    // Long texts are slow.
    let text = |number: usize| {
        let words = if has_fault(number) {
            60 + number
        } else {
            1 + number
        };
        let body = json!({ "model": "text_sentiment", "texts": ["good ".repeat(words)] });
        let fault = format!("fault=model-service:{SLOW}");
        (
            body,
            if has_fault(number) {
                fault
            } else {
                String::new()
            },
        )
    };
    let calls = (0..REQUESTS).map(text).collect();
    first_difference(&system, SELECT_SLOW, calls, |first| {
        first["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("ml.input."))
    })?;
    // Large batches fail.
    let wines = Wines::new();
    for service in ["model-service", "feature-store"] {
        for kind in ["error", "drop"] {
            let batch = |number: usize| {
                let rows = if has_fault(number) {
                    15 + number
                } else {
                    1 + number / 2
                };
                let fault = format!("fault={service}:{kind}");
                (
                    wines.take(rows),
                    if has_fault(number) {
                        fault
                    } else {
                        String::new()
                    },
                )
            };
            let calls = (0..REQUESTS).map(batch).collect();
            first_difference(&system, SELECT_FAILED, calls, |first| {
                first["name"] == "ml.batch_size"
            })?;
        }
    }
    Ok(())
}
