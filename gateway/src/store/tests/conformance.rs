//! The conformance suite of prediction stores: the tests of each engine call [`check`] on an empty
//! store.

use jiff::{SignedDuration, Timestamp};
use telemetry::SpanRef;

use crate::store::{
    Key, Lookup, LookupPart, Page, PredictionStore, Search, StoredPrediction, Written,
};

/// Runs the whole suite. `settle` makes what was written visible to searches, for engines that do
/// so with a delay.
pub(crate) async fn check<F: Future<Output = ()>>(
    store: &dyn PredictionStore,
    settle: impl Fn() -> F,
) {
    an_empty_store_knows_nothing(store).await;
    what_is_stored_is_found_again_exactly(store).await;
    a_lookup_keeps_the_order_and_marks_what_is_missing(store).await;
    versions_and_models_do_not_answer_for_each_other(store).await;
    variants_do_not_answer_for_each_other(store).await;
    one_lookup_may_name_several_variants(store).await;
    a_newer_computation_replaces_an_older_one_and_never_the_reverse(store).await;
    what_a_wrong_clock_stored_gives_way(store).await;
    clocks_may_differ_a_little(store).await;
    a_batch_has_the_outcome_of_each_write(store).await;
    ids_are_taken_literally(store).await;
    concurrent_writes_are_all_stored(store).await;
    store_what_searches_find(store).await;
    settle().await;
    the_latest_version_is_that_of_the_newest_prediction(store).await;
    searches_filter(store).await;
    pages_follow_each_other_without_gaps(store).await;
    store.remove_older(at(1_000_000)).await.unwrap();
    settle().await;
    what_was_removed_is_not_found(store).await;
}

/// A prediction `seconds` after a fixed moment.
pub(crate) fn prediction(
    model: &str,
    version: &str,
    data_id: &str,
    seconds: i64,
) -> StoredPrediction {
    StoredPrediction {
        key: Key {
            model: model.into(),
            variant: "primary".into(),
            version: version.into(),
            data_id: data_id.into(),
        },
        label: "high".to_owned(),
        confidence: 0.7,
        probabilities: vec![0.3, 0.7],
        computed_at: at(seconds),
        computed_by: SpanRef::parse("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),
        run_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_123_456).unwrap() + SignedDuration::from_secs(seconds)
}

/// The same prediction by another variant.
fn by(variant: &str, prediction: StoredPrediction) -> StoredPrediction {
    StoredPrediction {
        key: Key {
            variant: variant.into(),
            ..prediction.key
        },
        ..prediction
    }
}

/// Looks up predictions of the variant `primary`.
pub(crate) fn lookup(model: &str, version: &str, data_ids: &[&str]) -> Lookup {
    Lookup {
        model: model.into(),
        parts: vec![part("primary", version, data_ids)],
    }
}

fn part(variant: &str, version: &str, data_ids: &[&str]) -> LookupPart {
    let data_ids = data_ids.iter().map(|id| (*id).into()).collect();
    LookupPart {
        variant: variant.into(),
        version: version.into(),
        data_ids,
    }
}

async fn put(store: &dyn PredictionStore, predictions: &[StoredPrediction]) {
    let results = store.put_many(predictions.to_vec()).await.unwrap();
    assert_eq!(results.len(), predictions.len());
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn get(
    store: &dyn PredictionStore,
    model: &str,
    version: &str,
    data_id: &str,
) -> Option<StoredPrediction> {
    store
        .get_many(lookup(model, version, &[data_id]))
        .await
        .unwrap()
        .remove(0)
}

async fn an_empty_store_knows_nothing(store: &dyn PredictionStore) {
    assert_eq!(
        store.get_many(lookup("m", "1", &["a", "b"])).await.unwrap(),
        [None, None]
    );
    assert_eq!(store.get_many(lookup("m", "1", &[])).await.unwrap(), []);
    assert_eq!(store.put_many(Vec::new()).await.unwrap().len(), 0);
    assert_eq!(
        store
            .search(Search {
                limit: 10,
                ..Search::default()
            })
            .await
            .unwrap(),
        Page::default()
    );
    assert_eq!(store.latest_version("m", "primary").await.unwrap(), None);
    assert_eq!(store.remove_older(at(0)).await.unwrap(), 0);
}

async fn what_is_stored_is_found_again_exactly(store: &dyn PredictionStore) {
    let full = prediction("exact", "1", "a", 0);
    let odd = StoredPrediction {
        confidence: 0.1 + 0.2,
        probabilities: vec![f32::MIN_POSITIVE, 1.0 / 3.0, 1.0],
        computed_by: None,
        run_id: None,
        ..prediction("exact", "1", "b", 1)
    };
    put(store, &[full.clone(), odd.clone()]).await;
    assert_eq!(
        store
            .get_many(lookup("exact", "1", &["a", "b"]))
            .await
            .unwrap(),
        [Some(full), Some(odd)]
    );
}

async fn a_lookup_keeps_the_order_and_marks_what_is_missing(store: &dyn PredictionStore) {
    let all: Vec<_> = ["c", "a", "b"]
        .iter()
        .map(|id| prediction("order", "1", id, 0))
        .collect();
    put(store, &all).await;
    let found = store
        .get_many(lookup("order", "1", &["b", "x", "c", "a"]))
        .await
        .unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().map(|found| &*found.key.data_id))
        .collect();
    assert_eq!(ids, [Some("b"), None, Some("c"), Some("a")]);
}

async fn versions_and_models_do_not_answer_for_each_other(store: &dyn PredictionStore) {
    put(store, &[prediction("apart", "1", "a", 0)]).await;
    assert_eq!(get(store, "apart", "2", "a").await, None);
    assert_eq!(get(store, "apar", "t1", "a").await, None);
    assert_eq!(get(store, "apart", "", "1a").await, None);
    assert!(get(store, "apart", "1", "a").await.is_some());
}

async fn variants_do_not_answer_for_each_other(store: &dyn PredictionStore) {
    // Also without versions, and with names that would be equal when concatenated.
    for (variant, version) in [
        ("primary", ""),
        ("canary", ""),
        ("canary", "1"),
        ("canary/1", ""),
        ("a@b", "1"),
    ] {
        put(
            store,
            &[by(
                variant,
                StoredPrediction {
                    label: format!("{variant} {version}"),
                    ..prediction("of", version, "a", 0)
                },
            )],
        )
        .await;
    }
    for (variant, version, label) in [
        ("primary", "", Some("primary ")),
        ("canary", "", Some("canary ")),
        ("canary", "1", Some("canary 1")),
        ("canary/1", "", Some("canary/1 ")),
        ("a@b", "1", Some("a@b 1")),
        ("primary", "1", None),
        ("kserve", "", None),
        ("b", "1", None),
    ] {
        let of = Lookup {
            model: "of".into(),
            parts: vec![part(variant, version, &["a"])],
        };
        let found = store.get_many(of).await.unwrap().remove(0);
        assert_eq!(
            found.as_ref().map(|found| found.label.as_str()),
            label,
            "{variant} {version}"
        );
        assert!(
            found.is_none_or(
                |found| *found.key.variant == *variant && *found.key.version == *version
            )
        );
    }
}

async fn one_lookup_may_name_several_variants(store: &dyn PredictionStore) {
    let all = [
        prediction("parts", "1", "a", 0),
        by("canary", prediction("parts", "7", "b", 0)),
    ];
    put(store, &all).await;
    let parts = vec![
        part("canary", "7", &["x", "b"]),
        part("kserve", "1", &[]),
        part("primary", "1", &["a", "b"]),
    ];
    let found = store
        .get_many(Lookup {
            model: "parts".into(),
            parts,
        })
        .await
        .unwrap();
    let [a, b] = all;
    assert_eq!(found, [None, Some(b), Some(a), None]);
}

async fn a_newer_computation_replaces_an_older_one_and_never_the_reverse(
    store: &dyn PredictionStore,
) {
    let (old, new) = (
        prediction("newest", "1", "a", 1),
        StoredPrediction {
            label: "low".to_owned(),
            ..prediction("newest", "1", "a", 2)
        },
    );
    put(store, std::slice::from_ref(&new)).await;
    assert_eq!(write(store, old).await, Written::Superseded);
    assert_eq!(get(store, "newest", "1", "a").await, Some(new));
    let newer = prediction("newest", "1", "a", 3);
    put(store, std::slice::from_ref(&newer)).await;
    assert_eq!(get(store, "newest", "1", "a").await, Some(newer));
}

/// Stores one prediction and returns what became of it.
async fn write(store: &dyn PredictionStore, prediction: StoredPrediction) -> Written {
    let mut results = store.put_many(vec![prediction]).await.unwrap();
    results.remove(0).unwrap()
}

async fn what_a_wrong_clock_stored_gives_way(store: &dyn PredictionStore) {
    let at = |seconds, label: &str| StoredPrediction {
        label: label.to_owned(),
        ..prediction("clock", "1", "a", seconds)
    };
    let day = 86_400;
    for wrong in [day, 3_650 * day] {
        assert_eq!(write(store, at(wrong, "wrong")).await, Written::Stored);
        // The clock is right again, and stays so.
        for seconds in [0, 1, 2] {
            let right = at(seconds, &format!("right {seconds}"));
            assert_eq!(write(store, right.clone()).await, Written::Stored);
            assert_eq!(get(store, "clock", "1", "a").await, Some(right));
        }
        // What is right is not replaced by what is older.
        assert_eq!(write(store, at(1, "late")).await, Written::Superseded);
        let kept = get(store, "clock", "1", "a").await.unwrap();
        assert_eq!(kept.label, "right 2");
    }
}

async fn clocks_may_differ_a_little(store: &dyn PredictionStore) {
    let ahead = prediction("skew", "1", "a", 60);
    assert_eq!(write(store, ahead.clone()).await, Written::Stored);
    let behind = prediction("skew", "1", "a", 0);
    assert_eq!(write(store, behind).await, Written::Superseded);
    assert_eq!(get(store, "skew", "1", "a").await, Some(ahead.clone()));
    // The same write may be repeated.
    assert_eq!(write(store, ahead).await, Written::Stored);
}

async fn a_batch_has_the_outcome_of_each_write(store: &dyn PredictionStore) {
    let stored = [
        prediction("outcomes", "1", "newer", 5),
        prediction("outcomes", "1", "wrong", 86_400),
    ];
    put(store, &stored).await;
    let batch = ["new", "newer", "wrong"].map(|id| prediction("outcomes", "1", id, 1));
    let results = store.put_many(batch.to_vec()).await.unwrap();
    let results: Vec<Written> = results.into_iter().map(Result::unwrap).collect();
    let expected = [Written::Stored, Written::Superseded, Written::Stored];
    assert_eq!(results, expected);
    let ids = ["new", "newer", "wrong"];
    let found = store.get_many(lookup("outcomes", "1", &ids)).await.unwrap();
    let [newer, _] = stored;
    let [new, _, right] = batch;
    assert_eq!(found, [Some(new), Some(newer), Some(right)]);
}

async fn ids_are_taken_literally(store: &dyn PredictionStore) {
    let ids = [
        "a' OR 1=1 --",
        "a/b",
        "%",
        "_",
        "naïve ☕",
        "a\"b\\c",
        " a",
        "A",
        &"x".repeat(256),
        &"é".repeat(400),
    ];
    let all: Vec<_> = ids
        .iter()
        .map(|id| prediction("literal", "1", id, 0))
        .collect();
    put(store, &all).await;
    let found = store.get_many(lookup("literal", "1", &ids)).await.unwrap();
    assert_eq!(found, all.into_iter().map(Some).collect::<Vec<_>>());
    assert_eq!(get(store, "literal", "1", "a").await, None);
}

async fn concurrent_writes_are_all_stored(store: &dyn PredictionStore) {
    let writes = (0..40).map(|n| async move {
        put(store, &[prediction("many", "1", &format!("id-{n}"), n)]).await;
    });
    futures_util::future::join_all(writes).await;
    let ids: Vec<String> = (0..40).map(|n| format!("id-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let found = store.get_many(lookup("many", "1", &ids)).await.unwrap();
    assert_eq!(found.iter().flatten().count(), 40);
}

/// Stores what the searches find, before all of them, since an engine may have to settle.
async fn store_what_searches_find(store: &dyn PredictionStore) {
    let latest = [
        prediction("latest", "9", "a", 10),
        prediction("latest", "10", "a", 20),
        prediction("latest", "8", "a", 15),
    ];
    put(store, &latest).await;
    put(store, &[by("canary", prediction("latest", "3", "a", 30))]).await;
    let one = |id: &str, label: &str, variant: &str, confidence, seconds| {
        let label = label.to_owned();
        by(
            variant,
            StoredPrediction {
                label,
                confidence,
                ..prediction("search", "1", id, seconds)
            },
        )
    };
    let search = [
        one("a", "high", "primary", 0.9, 10),
        one("b", "low", "primary", 0.8, 20),
        one("c", "high", "canary", 0.6, 30),
    ];
    put(store, &search).await;
    // Equal times, so that the key decides the order.
    let pages: Vec<_> = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|id| prediction("pages", "1", id, 50))
        .collect();
    put(store, &pages).await;
    put(
        store,
        &[
            prediction("pages", "1", "f", 60),
            prediction("pages", "2", "a", 50),
        ],
    )
    .await;
    put(store, &[by("canary", prediction("pages", "9", "c", 50))]).await;
}

async fn the_latest_version_is_that_of_the_newest_prediction(store: &dyn PredictionStore) {
    for (model, variant, version) in [
        ("latest", "primary", Some("10")),
        ("latest", "canary", Some("3")),
        ("latest", "kserve", None),
        ("nobody", "primary", None),
    ] {
        assert_eq!(
            store
                .latest_version(model, variant)
                .await
                .unwrap()
                .as_deref(),
            version,
            "{model} {variant}"
        );
    }
}

async fn searches_filter(store: &dyn PredictionStore) {
    let base = Search {
        model: Some("search".to_owned()),
        limit: 10,
        ..Search::default()
    };
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (base.clone(), "c b a"),
        (
            Search {
                label: text("high"),
                ..base.clone()
            },
            "c a",
        ),
        (
            Search {
                variant: text("primary"),
                ..base.clone()
            },
            "b a",
        ),
        (
            Search {
                label: text("high"),
                variant: text("primary"),
                ..base.clone()
            },
            "a",
        ),
        (
            Search {
                min_confidence: Some(0.9),
                ..base.clone()
            },
            "a",
        ),
        (
            Search {
                min_confidence: Some(0.8),
                ..base.clone()
            },
            "b a",
        ),
        (
            Search {
                since: Some(at(20)),
                ..base.clone()
            },
            "c b",
        ),
        (
            Search {
                since: Some(at(31)),
                ..base.clone()
            },
            "",
        ),
        (
            Search {
                model: text("nobody"),
                ..base.clone()
            },
            "",
        ),
        (
            Search {
                label: text("HIGH"),
                ..base.clone()
            },
            "",
        ),
    ];
    for (search, expected) in cases {
        let page = store.search(search.clone()).await.unwrap();
        assert_eq!(ids(&page), expected, "{search:?}");
        assert_eq!(page.next, None, "{search:?}");
    }
}

async fn pages_follow_each_other_without_gaps(store: &dyn PredictionStore) {
    let mut search = Search {
        model: Some("pages".to_owned()),
        limit: 3,
        ..Search::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = store.search(search.clone()).await.unwrap();
        pages.push(ids(&page));
        match page.next {
            Some(next) => search.after = Some(next),
            None => break,
        }
        assert!(pages.len() < 10, "the pages do not end: {pages:?}");
    }
    assert_eq!(pages, ["f c a", "b c d", "e a"]);
}

async fn what_was_removed_is_not_found(store: &dyn PredictionStore) {
    assert_eq!(get(store, "exact", "1", "a").await, None);
    assert_eq!(
        store
            .search(Search {
                limit: 10,
                ..Search::default()
            })
            .await
            .unwrap(),
        Page::default()
    );
    put(
        store,
        &[
            prediction("gone", "1", "old", 0),
            prediction("gone", "1", "new", 10),
        ],
    )
    .await;
    assert_eq!(store.remove_older(at(10)).await.unwrap(), 1);
    assert_eq!(get(store, "gone", "1", "old").await, None);
    assert!(get(store, "gone", "1", "new").await.is_some());
}

fn ids(page: &Page) -> String {
    page.predictions
        .iter()
        .map(|found| &*found.key.data_id)
        .collect::<Vec<_>>()
        .join(" ")
}
