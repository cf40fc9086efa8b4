//! Document ids: no two keys have the same.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::document::id;

#[test]
fn ids_are_readable_unless_they_would_be_too_long() {
    // The id of the releases before variants, so that their predictions are still found.
    assert_eq!(
        id("wine_quality", "primary", "1", "wine-0001"),
        "wine_quality/1/wine-0001"
    );
    assert_eq!(
        id("wine_quality", "canary", "2", "wine-0001"),
        "wine_quality@canary/2/wine-0001"
    );
    assert_eq!(id("m", "primary", "", "a/b%@"), "m//a/b%@");
    assert_eq!(id("m/1", "a/@", "2%", "a"), "m%2F1@a%2F%40/2%25/a");
    let long = id("m", "primary", "1", &"é".repeat(300));
    assert!(
        long.len() <= 512 && long.starts_with("sha256-") && !long.contains('/'),
        "{long}"
    );
    assert_ne!(long, id("m", "primary", "1", &"é".repeat(301)));
    assert_ne!(long, id("m", "canary", "1", &"é".repeat(300)));
    assert_eq!(id("m", "primary", "1", &"x".repeat(508)).len(), 512);
    assert!(id("m", "primary", "1", &"x".repeat(509)).starts_with("sha256-"));
}

proptest! {
    #[test]
    fn different_keys_have_different_ids(keys in prop::collection::hash_set(("[a@/%2F]{0,3}", "primary|[a@/%2F]{0,3}", "[a@/%2F]{0,3}", "[a@/%2F]{0,3}"), 2..20)) {
        let ids: HashSet<_> = keys.iter().map(|(model, variant, version, data_id)| id(model, variant, version, data_id)).collect();
        prop_assert_eq!(ids.len(), keys.len());
    }
}
