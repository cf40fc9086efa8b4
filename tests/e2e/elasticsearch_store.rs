//! The trace contract and the search with predictions in a real Elasticsearch.

use anyhow::{Context, Result};
use harness::eventually;
use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::components::elasticsearch;
use crate::system::{System, path, start};
use crate::trace_contract::{HIT, MISS};

/// The tree, with Elasticsearch's names of the store's operations.
fn outline(tree: &str) -> String {
    tree.replace("SELECT predictions", "mget predictions")
        .replace("INSERT predictions", "bulk predictions")
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL, as .ci/components/with does"]
fn the_trace_contract_holds_on_elasticsearch() -> Result<()> {
    let system = System::start_on(&elasticsearch()?)?;
    // Other tests may have stored other wines in the same index; these two are this test's own.
    let miss = system.predict(&["wine-0901"])?;
    assert_eq!(
        (miss.status, &miss.prediction(0)["cached"]),
        (StatusCode::OK, &json!(false)),
        "{}",
        miss.body
    );
    assert!(
        miss.header("cache-status").ends_with("stored"),
        "{}",
        miss.header("cache-status")
    );
    let computed = system.trace_with_outline(&miss.trace_id(), &outline(MISS))?;
    for name in ["mget predictions", "bulk predictions"] {
        let span = computed.span(name).context("the outline has it")?;
        assert_eq!(
            span.text("db.system.name").as_deref(),
            Some("elasticsearch")
        );
        assert_eq!(span.text("db.response.status_code").as_deref(), Some("200"));
    }

    let hit = system.predict(&["wine-0901"])?;
    assert_eq!(hit.prediction(0)["cached"], json!(true));
    let trace = system.trace_with_outline(&hit.trace_id(), &outline(HIT))?;
    let root = trace
        .span("POST /v1/predictions")
        .context("the outline has it")?;
    let predict = computed
        .span("predict wine_quality")
        .context("the outline has it")?;
    let links: Vec<_> = root
        .links
        .iter()
        .map(|link| (&link.trace_id, &link.span_id))
        .collect();
    assert_eq!(links, [(&computed.trace_id, &predict.span_id)]);
    Ok(())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL, as .ci/components/with does"]
fn the_search_finds_what_was_stored() -> Result<()> {
    let system = System::start_on(&elasticsearch()?)?;
    let wines: Vec<String> = (910..930).map(|wine| format!("wine-{wine:04}")).collect();
    let answer = system.predict(&wines.iter().map(String::as_str).collect::<Vec<_>>())?;
    let high = answer.body["predictions"]
        .as_array()
        .context("predictions")?
        .iter()
        .find(|entry| entry["label"] == "high");
    let high = high.context("one of twenty wines is high")?;
    let query = format!(
        "{}/v1/predictions?model=wine_quality&label=high&limit=100",
        system.urls.gateway
    );
    // A search sees a document after the next refresh of the index, a second at most.
    eventually("the search finds the prediction", || {
        let found = system.get(&query)?.body["predictions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(
            found.iter().all(|entry| entry["label"] == "high"),
            "{found:?}"
        );
        Ok(found
            .iter()
            .any(|entry| entry["data_id"] == high["data_id"])
            .then_some(()))
    })
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL, as .ci/components/with does"]
fn the_sample_of_up_is_complete_on_elasticsearch() -> Result<()> {
    let (url, data) = (elasticsearch()?, TempDir::new()?);
    let mut args = vec![
        "up",
        "--once",
        "--prediction-store",
        &url,
        "--data-dir",
        path(data.path()),
    ];
    for flag in [
        "--gateway-port",
        "--model-service-port",
        "--feature-store-port",
        "--explorer-port",
        "--otlp-port",
    ] {
        args.extend([flag, "0"]);
    }
    let mut up = start(&args, &[])?;
    let status = up.wait()?;
    let said = up.output();
    assert!(
        status.success() && said.contains("mget predictions") && said.contains("bulk predictions"),
        "{said}"
    );
    Ok(())
}
