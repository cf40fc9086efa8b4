//! The split: fair, stable, and with few moves after a change.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use protocol::ErrorCode;

use super::rendezvous::{ranked, unit};
use super::{Assignment, Choice, Wish};
use crate::dispatch::Breakers;
use crate::error::ApiError;
use crate::traffic::tests::split;
use crate::traffic::{Split, VariantIndex};

fn ids(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("wine-{n:04}")).collect()
}

/// The variant of one key, by name; `None` if no variant gets traffic.
fn first(split: &Split, key: &str) -> Option<String> {
    let best = ranked(split, key).first().copied()?;
    Some((*split[best].name).to_owned())
}

/// The variant of each id, by name.
fn chosen(split: &Split, ids: &[String]) -> Vec<String> {
    ids.iter()
        .map(|id| (*split[ranked(split, id)[0]].name).to_owned())
        .collect()
}

/// Five standard deviations of a binomial count: a fair split misses this once in two million
/// salts.
fn assert_share(count: usize, total: usize, share: f64) {
    let (n, mean) = (total as f64, total as f64 * share);
    let bound = 5.0 * (n * share * (1.0 - share)).sqrt();
    assert!(
        (count as f64 - mean).abs() <= bound,
        "{count} of {total} is not {share}"
    );
}

#[test]
fn ten_thousand_ids_are_split_as_the_weights_say() {
    for (weights, shares) in [
        (&[("primary", 90), ("canary", 10)][..], &[0.9, 0.1][..]),
        (&[("primary", 1), ("canary", 1)], &[0.5, 0.5]),
        (
            &[("a", 1), ("b", 2), ("c", 5), ("d", 0)],
            &[0.125, 0.25, 0.625, 0.0],
        ),
        (&[("a", 1_000_000), ("b", 1)], &[0.999_999, 0.000_001]),
    ] {
        for salt in ["wine_quality", "autumn", ""] {
            let route = split(salt, false, weights);
            let split = chosen(&route, &ids(10_000));
            for ((name, _), share) in weights.iter().zip(shares) {
                assert_share(
                    split.iter().filter(|variant| variant == name).count(),
                    10_000,
                    *share,
                );
            }
        }
    }
}

#[test]
fn another_salt_gives_another_split() {
    let weights = [("primary", 50), ("canary", 50)];
    let (one, other) = (
        chosen(&split("one", false, &weights), &ids(10_000)),
        chosen(&split("other", false, &weights), &ids(10_000)),
    );
    let same = one
        .iter()
        .zip(&other)
        .filter(|(one, other)| one == other)
        .count();
    assert_share(same, 10_000, 0.5);
}

#[test]
fn a_changed_weight_moves_keys_only_to_the_variant_that_grew() {
    let ids = ids(10_000);
    let chosen_by = |weights: &[(&str, u32)]| chosen(&split("wine_quality", false, weights), &ids);
    let moves_between = |before: &[String], after: &[String]| {
        let moved = before
            .iter()
            .zip(after)
            .filter(|(before, after)| before != after);
        moved
            .map(|(before, after)| (before.clone(), after.clone()))
            .collect::<Vec<_>>()
    };
    let before = chosen_by(&[("primary", 90), ("canary", 10)]);
    assert_eq!(
        before,
        chosen_by(&[("canary", 1), ("primary", 9)]),
        "neither order nor scale matters"
    );

    let moved = moves_between(&before, &chosen_by(&[("primary", 80), ("canary", 20)]));
    assert_share(moved.len(), 10_000, 0.1);
    assert!(
        moved
            .iter()
            .all(|(from, to)| from == "primary" && to == "canary")
    );

    let moved = moves_between(
        &before,
        &chosen_by(&[("primary", 90), ("canary", 10), ("third", 25)]),
    );
    assert_share(moved.len(), 10_000, 0.2);
    assert!(moved.iter().all(|(_, to)| to == "third"));

    let moved = moves_between(&before, &chosen_by(&[("primary", 90), ("canary", 0)]));
    assert_share(moved.len(), 10_000, 0.1);
    assert!(moved.iter().all(|(from, _)| from == "canary"));
}

/// A release that changes one of these moves users to another variant.
#[test]
fn the_hash_does_not_change_between_releases() {
    let golden = [
        ("wine_quality", "primary", "wine-0001", GOLDEN_UNITS[0]),
        ("wine_quality", "canary", "wine-0001", GOLDEN_UNITS[1]),
        ("wine_quality", "primary", "", GOLDEN_UNITS[2]),
        ("", "primary", "naïve ☕", GOLDEN_UNITS[3]),
    ];
    for (salt, variant, key, expected) in golden {
        assert_eq!(
            unit(salt, variant, key).to_bits(),
            f64::to_bits(expected),
            "{salt} {variant} {key}: {:?}",
            unit(salt, variant, key)
        );
    }
    let route = split("wine_quality", false, &[("primary", 90), ("canary", 10)]);
    let canaries: Vec<String> = ids(100)
        .into_iter()
        .filter(|id| chosen(&route, std::slice::from_ref(id)) == ["canary"])
        .collect();
    assert_eq!(canaries.join(" ").replace("wine-", ""), GOLDEN_CANARIES);
}

/// Computed in Python with hashlib and math.log.
const GOLDEN_UNITS: [f64; 4] = [
    0.670_365_833_250_166_7,
    0.251_113_559_711_251,
    0.720_647_564_258_114,
    0.615_152_645_350_662_8,
];
const GOLDEN_CANARIES: &str = "0003 0010 0041 0042 0054 0056 0064 0086 0087";

proptest! {
    #[test]
    fn the_ranking_of_a_key_begins_with_its_variant(
        key in ".{0,40}",
        weights in prop::collection::vec(0_u32..1_000, 1..6),
        grown in 0_usize..6,
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut weights: Vec<(&str, u32)> = names.into_iter().zip(weights).collect();
        let route_before = split("salt", true, &weights);
        let before = first(&route_before, &key);
        prop_assert_eq!(&before, &first(&route_before, &key));
        let order = ranked(&route_before, &key);
        prop_assert_eq!(order.first().map(|at| (*route_before[*at].name).to_owned()), before.clone());
        prop_assert_eq!(order.len(), weights.iter().filter(|(_, weight)| *weight > 0).count());
        // The variant that grows keeps its keys, and the others get no key.
        let grown = grown % weights.len();
        weights[grown].1 += 500;
        let after = first(&split("salt", true, &weights), &key);
        prop_assert!(after == before || after == Some(names[grown].to_owned()));
    }
}

fn wish(values: &[&str]) -> Wish {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(
            "baggage",
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    Wish::read(&headers)
}

#[test]
fn baggage_is_read_by_the_standard() {
    let long = format!("user.id={}", "x".repeat(257));
    let flood = format!("a={}", "x".repeat(8_192));
    let cases: [(&[&str], Option<&str>, Option<&str>); 14] = [
        (&[], None, None),
        (&["ml.variant=canary"], Some("canary"), None),
        (
            &["fault=gateway:error, ml.variant = canary ;ttl=3, user.id=u-1"],
            Some("canary"),
            Some("u-1"),
        ),
        (&["user.id=a%20b%2Cc%3D%25"], None, Some("a b,c=%")),
        (&["user.id=Am%C3%A9lie"], None, Some("Amélie")),
        (&["user.id=%FF"], None, Some("\u{fffd}")),
        (&["user.id=50%"], None, Some("50%")),
        (&["user.id=%zz%1"], None, Some("%zz%1")),
        (
            &["user.id=a", "user.id=b", "ml.variant=c"],
            Some("c"),
            Some("a"),
        ),
        (&["user.id=", "user.id=b"], None, Some("b")),
        (&["ml.variant", "=", ",,;,", "USER.ID=x"], None, None),
        (&[&long], None, None),
        (&[&flood, "ml.variant=canary"], None, None),
        (&["user.id=na\u{ef}ve", "ml.variant=x"], Some("x"), None),
    ];
    for (values, forced, user) in cases {
        let wish = wish(values);
        assert_eq!(
            (wish.variant.as_deref(), wish.user.as_deref()),
            (forced, user),
            "{values:?}"
        );
    }
}

/// A choice among the variants `primary` (90), `canary` (10) and `rest` (0).
fn choose(wish: Wish) -> Result<Choice, ApiError> {
    let split = split("m", true, &[("primary", 90), ("canary", 10), ("rest", 0)]);
    Choice::new(Arc::new(split), "m".into(), wish, &Breakers::default())
}

fn named(name: &str) -> Wish {
    Wish {
        variant: Some(name.to_owned()),
        user: Some("somebody".to_owned()),
    }
}

/// The names of the variants of some ids.
fn variants(choice: &Choice, ids: &[String]) -> BTreeSet<String> {
    ids.iter()
        .map(|id| (*choice.split[choice.assign(id).variant].name).to_owned())
        .collect()
}

#[test]
fn a_named_variant_gets_everything() {
    let choice = choose(named("rest")).unwrap();
    let rest = BTreeSet::from(["rest".to_owned()]);
    assert_eq!(
        variants(&choice, &ids(100)),
        rest,
        "with weight 0 it answers requests that name it"
    );
    for (name, text) in [
        ("nobody", "no variant `nobody`"),
        ("a b", "no variant of model `m` that"),
        (&"x".repeat(65), "no variant of model `m` that"),
    ] {
        let error = choose(named(name)).unwrap_err();
        assert!(
            matches!(error, ApiError::UnknownVariant { .. }) && error.to_string().contains(text),
            "{error}"
        );
    }
}

#[test]
fn a_user_gets_one_variant_for_everything() {
    let mut seen = BTreeSet::new();
    for user in 0..100 {
        let wish = Wish {
            variant: None,
            user: Some(format!("user-{user}")),
        };
        let variants = variants(&choose(wish).unwrap(), &ids(100));
        assert_eq!(variants.len(), 1);
        seen.extend(variants);
    }
    assert_eq!(seen, ["canary", "primary"].map(str::to_owned).into());
    let by_id = variants(&choose(Wish::default()).unwrap(), &ids(100));
    assert_eq!(by_id, seen, "without a user the ids are split");
}

/// The variants that are called for an id when each of them fails, in order.
fn asked(choice: &Choice, id: &str) -> Vec<VariantIndex> {
    let mut assignment = choice.assign(id);
    while choice.reassign(id, &mut assignment, ErrorCode::ModelUnavailable) {}
    let Assignment { variant, failed } = assignment;
    failed
        .iter()
        .map(|failed| failed.variant)
        .chain([variant])
        .collect()
}

#[test]
fn fail_over_follows_the_ranking_of_the_key() {
    let weights = [("a", 3), ("b", 2), ("c", 1), ("off", 0)];
    let choose = |fail_over, wish| {
        let split = split("m", fail_over, &weights);
        Choice::new(Arc::new(split), "m".into(), wish, &Breakers::default()).unwrap()
    };
    let choice = choose(true, Wish::default());
    let mut seconds = BTreeSet::new();
    for id in ids(50) {
        let order = ranked(&choice.split, &id);
        assert_eq!(asked(&choice, &id), order);
        seconds.insert(order[1]);
    }
    assert_eq!(
        seconds.len(),
        3,
        "the load of a variant that is down is spread"
    );
    let named = choose(true, wish(&["ml.variant=a"]));
    assert_eq!(
        asked(&named, "wine-0001").len(),
        1,
        "a request that names a variant wants no other"
    );
    let without_fail_over = choose(false, Wish::default());
    assert_eq!(asked(&without_fail_over, "wine-0001").len(), 1);
}
