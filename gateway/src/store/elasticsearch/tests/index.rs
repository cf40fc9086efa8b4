//! The index on a real server: created once by whoever comes first, created again when it was
//! deleted, and never changed by a write.

use serde_json::Value;

use super::server::Scratch;
use crate::PredictionStore;
use crate::store::tests::conformance::{self, prediction};
use crate::store::{Lookup, Search};

fn lookup(id: &str) -> Lookup {
    conformance::lookup("m", "1", &[id])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn gateways_that_start_together_create_one_index() {
    let scratch = Scratch::new();
    let stores: Vec<_> = (0..8).map(|_| scratch.store()).collect();
    let put = |n: usize| {
        let (store, id) = (&stores[n], format!("id-{n}"));
        async move {
            // Half of them create it at their start, and half with their first write.
            if n.is_multiple_of(2) {
                store.prepare().await;
            }
            store
                .put_many(vec![prediction("m", "1", &id, 0)])
                .await
                .unwrap()
                .remove(0)
                .unwrap();
        }
    };
    futures_util::future::join_all((0..8).map(put)).await;
    let aliases = scratch.call("GET", "_alias/ALIAS", "").await;
    let index = format!("{}-v1", scratch.alias());
    assert_eq!(
        aliases.as_object().unwrap().keys().collect::<Vec<_>>(),
        [&index]
    );
    assert_eq!(
        aliases[&index]["aliases"][scratch.alias()]["is_write_index"],
        true
    );
    for n in 0..8 {
        assert!(
            stores[(n + 1) % 8]
                .get_many(lookup(&format!("id-{n}")))
                .await
                .unwrap()[0]
                .is_some()
        );
    }
    let mapping = &scratch.call("GET", "ALIAS-v1/_mapping", "").await[&index]["mappings"];
    assert_eq!(
        (&mapping["dynamic"], &mapping["_meta"]["schema"]),
        (&"strict".into(), &1.into()),
        "{mapping}"
    );
    assert_eq!(mapping["properties"]["computed_at"]["type"], "date_nanos");
    scratch.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn a_deleted_index_is_empty_and_the_next_write_creates_it_again() {
    let scratch = Scratch::new();
    let store = scratch.store();
    store.prepare().await;
    store
        .put_many(vec![prediction("m", "1", "a", 0)])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    scratch.call("DELETE", "ALIAS-v1", "").await;
    assert_eq!(store.get_many(lookup("a")).await.unwrap(), [None]);
    assert!(
        store
            .search(Search {
                limit: 1,
                ..Search::default()
            })
            .await
            .unwrap()
            .predictions
            .is_empty()
    );
    assert_eq!(store.latest_version("m", "primary").await.unwrap(), None);
    assert_eq!(store.remove_older(jiff::Timestamp::now()).await.unwrap(), 0);
    store
        .put_many(vec![prediction("m", "1", "b", 0)])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert!(store.get_many(lookup("b")).await.unwrap()[0].is_some());
    scratch.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn an_index_template_of_an_operator_is_used() {
    let scratch = Scratch::new();
    let template = r#"{"index_patterns":["ALIAS-v*"],"priority":300,"template":{"settings":{"number_of_shards":2},"mappings":{"properties":{"model":{"type":"keyword"}}}}}"#;
    let template = template.replace("ALIAS", scratch.alias());
    scratch
        .call("PUT", "_index_template/ALIAS", &template)
        .await;
    scratch.store().prepare().await;
    let settings = scratch.call("GET", "ALIAS-v1/_settings", "").await;
    assert_eq!(
        settings[format!("{}-v1", scratch.alias())]["settings"]["index"]["number_of_shards"],
        "2"
    );
    scratch.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn ten_thousand_predictions_are_stored_found_paged_and_removed() {
    let scratch = Scratch::new();
    let store = scratch.store();
    store.prepare().await;
    let all: Vec<_> = (0..10_000)
        .map(|n| prediction("m", "1", &format!("id-{n:05}"), n))
        .collect();
    let writes = all.chunks(500).map(|chunk| store.put_many(chunk.to_vec()));
    let written = futures_util::future::join_all(writes).await;
    assert!(
        written
            .into_iter()
            .flat_map(Result::unwrap)
            .all(|item| item.is_ok())
    );
    scratch.refresh().await;
    let counted: Value = scratch.call("GET", "ALIAS/_count", "").await;
    assert_eq!(counted["count"], 10_000);
    for chunk in all.chunks(1_000) {
        let data_ids: Vec<&str> = chunk.iter().map(|one| &*one.key.data_id).collect();
        let found = store
            .get_many(conformance::lookup("m", "1", &data_ids))
            .await
            .unwrap();
        assert!(
            found
                .iter()
                .zip(chunk)
                .all(|(found, stored)| found.as_ref() == Some(stored))
        );
    }
    let mut search = Search {
        limit: 1_000,
        ..Search::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.search(search.clone()).await.unwrap();
        seen.extend(page.predictions.into_iter().map(|found| found.key.data_id));
        search.after = page.next;
        if search.after.is_none() {
            break;
        }
    }
    assert!(
        seen.iter().eq(all.iter().rev().map(|one| &one.key.data_id)),
        "newest first, each once"
    );
    assert_eq!(
        store.remove_older(all[7_500].computed_at).await.unwrap(),
        7_500
    );
    scratch.refresh().await;
    assert_eq!(
        scratch.call("GET", "ALIAS/_count", "").await["count"],
        2_500
    );
    scratch.remove().await;
}
