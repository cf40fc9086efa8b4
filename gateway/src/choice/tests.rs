//! The split: fair, the same again, and moving no more than it must.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::rendezvous::{best, ranked, unit};
use super::{Choice, Reason, Wish};
use crate::error::ApiError;
use crate::routes::Route;
use crate::routes::tests::route;

fn ids(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("wine-{n:04}")).collect()
}

/// The variant of each id, by name.
fn split(route: &Route, ids: &[String]) -> Vec<String> {
    ids.iter()
        .map(|id| (*route.variants[best(route, id).unwrap()].name).to_owned())
        .collect()
}

/// Five standard deviations of a binomial count: a fair split misses this once in two million salts.
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
            let route = route(salt, false, weights);
            let split = split(&route, &ids(10_000));
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
fn another_salt_is_another_split() {
    let weights = [("primary", 50), ("canary", 50)];
    let (one, other) = (
        split(&route("one", false, &weights), &ids(10_000)),
        split(&route("other", false, &weights), &ids(10_000)),
    );
    let same = one
        .iter()
        .zip(&other)
        .filter(|(one, other)| one == other)
        .count();
    assert_share(same, 10_000, 0.5);
}

#[test]
fn a_changed_weight_moves_only_to_the_one_that_grew() {
    let ids = ids(10_000);
    let split = |weights: &[(&str, u32)]| split(&route("wine_quality", false, weights), &ids);
    let moves_between = |before: &[String], after: &[String]| {
        let moved = before
            .iter()
            .zip(after)
            .filter(|(before, after)| before != after);
        moved
            .map(|(before, after)| (before.clone(), after.clone()))
            .collect::<Vec<_>>()
    };
    let before = split(&[("primary", 90), ("canary", 10)]);
    assert_eq!(
        before,
        split(&[("canary", 1), ("primary", 9)]),
        "neither order nor scale matters"
    );

    let moved = moves_between(&before, &split(&[("primary", 80), ("canary", 20)]));
    assert_share(moved.len(), 10_000, 0.1);
    assert!(
        moved
            .iter()
            .all(|(from, to)| from == "primary" && to == "canary")
    );

    let moved = moves_between(
        &before,
        &split(&[("primary", 90), ("canary", 10), ("third", 25)]),
    );
    assert_share(moved.len(), 10_000, 0.2);
    assert!(moved.iter().all(|(_, to)| to == "third"));

    let moved = moves_between(&before, &split(&[("primary", 90), ("canary", 0)]));
    assert_share(moved.len(), 10_000, 0.1);
    assert!(moved.iter().all(|(from, _)| from == "canary"));
}

/// A release that changes one of these gives users another variant than they had.
#[test]
fn the_hash_is_for_ever() {
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
    let route = route("wine_quality", false, &[("primary", 90), ("canary", 10)]);
    let canaries: Vec<String> = ids(100)
        .into_iter()
        .filter(|id| split(&route, std::slice::from_ref(id)) == ["canary"])
        .collect();
    assert_eq!(canaries.join(" ").replace("wine-", ""), GOLDEN_CANARIES);
}

/// Worked out in Python, with hashlib and math.log.
const GOLDEN_UNITS: [f64; 4] = [
    0.670_365_833_250_166_7,
    0.251_113_559_711_251,
    0.720_647_564_258_114,
    0.615_152_645_350_662_8,
];
const GOLDEN_CANARIES: &str = "0003 0010 0041 0042 0054 0056 0064 0086 0087";

proptest! {
    #[test]
    fn every_key_has_one_variant_and_an_order_that_begins_with_it(
        key in ".{0,40}",
        weights in prop::collection::vec(0_u32..1_000, 1..6),
        grown in 0_usize..6,
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut weights: Vec<(&str, u32)> = names.into_iter().zip(weights).collect();
        let route_before = route("salt", true, &weights);
        let before = best(&route_before, &key);
        prop_assert_eq!(before, best(&route_before, &key));
        let order = ranked(&route_before, &key);
        prop_assert_eq!(order.first().copied(), before);
        prop_assert_eq!(order.len(), weights.iter().filter(|(_, weight)| *weight > 0).count());
        // Whoever grows keeps what it had, and nobody else gets anything.
        let grown = grown % weights.len();
        weights[grown].1 += 500;
        let after = best(&route("salt", true, &weights), &key);
        prop_assert!(after == before || after == Some(grown));
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
fn baggage_is_read_as_the_standard_has_it() {
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
            (wish.forced.as_deref(), wish.user.as_deref()),
            (forced, user),
            "{values:?}"
        );
    }
}

#[test]
fn a_wish_goes_before_the_split() {
    let route = route("m", true, &[("primary", 90), ("canary", 10), ("rest", 0)]);
    let ids = ids(100);
    let choose = |wish: Wish| Choice::of(&route, "m", wish, &ids);
    let forced = |name: &str| Wish {
        forced: Some(name.to_owned()),
        user: Some("somebody".to_owned()),
    };
    let choice = choose(forced("rest")).unwrap();
    assert_eq!(
        (choice.reason, choice.of),
        (Reason::TargetingMatch, vec![2; 100]),
        "a weight of 0 answers who asks for it"
    );
    let users = (0..100).map(|n| {
        choose(Wish {
            forced: None,
            user: Some(format!("user-{n}")),
        })
        .unwrap()
    });
    let firsts: Vec<usize> = users
        .map(|choice| {
            assert!(
                choice.of.iter().all(|of| *of == choice.of[0]),
                "one variant for everything that a user asks"
            );
            choice.of[0]
        })
        .collect();
    assert!(
        firsts.contains(&0) && firsts.contains(&1) && !firsts.contains(&2),
        "{firsts:?}"
    );
    let choice = choose(Wish::default()).unwrap();
    assert!(choice.reason == Reason::Split && choice.of.contains(&1));
    for (name, text) in [
        ("nobody", "no variant `nobody`"),
        ("a b", "no variant of model `m` that"),
        (&"x".repeat(65), "no variant of model `m` that"),
    ] {
        let error = choose(forced(name)).unwrap_err();
        assert!(
            matches!(error, ApiError::UnknownVariant { .. }) && error.to_string().contains(text),
            "{error}"
        );
    }
}

#[test]
fn the_next_variant_is_the_next_of_the_same_key() {
    let split = route("m", true, &[("a", 3), ("b", 2), ("c", 1), ("off", 0)]);
    let by_id = |id: &str| Choice::of(&split, "m", Wish::default(), &[id.to_owned()]).unwrap();
    let mut seconds = std::collections::BTreeSet::new();
    for id in ids(50) {
        let (choice, order) = (by_id(&id), ranked(&split, &id));
        assert_eq!(choice.of[0], order[0]);
        assert_eq!(choice.next(&split, &id, &order[..1]), Some(order[1]));
        assert_eq!(choice.next(&split, &id, &order[..2]), Some(order[2]));
        assert_eq!(choice.next(&split, &id, &order[..3]), None);
        seconds.insert(order[1]);
    }
    assert_eq!(
        seconds.len(),
        3,
        "the load of a variant that is down is spread"
    );
    let forced = Choice::of(&split, "m", wish(&["ml.variant=a"]), &ids(1)).unwrap();
    assert!(
        forced.next(&split, "wine-0001", &[0]).is_none() && !forced.has_next(&split),
        "who asks for one wants no other"
    );
    let off = route("m", false, &[("a", 3), ("b", 2)]);
    let choice = Choice::of(&off, "m", Wish::default(), &ids(1)).unwrap();
    assert!(choice.next(&off, "wine-0001", &choice.of).is_none() && !choice.has_next(&off));
}
