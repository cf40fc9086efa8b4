//! The file that ships with the program, and every mistake that is checked.

use super::*;

#[test]
fn the_embedded_views_are_those_of_the_design() {
    let views = Views::load(None).unwrap();
    let view = views.view("wine_features").unwrap();
    let names: Vec<&str> = view
        .features
        .iter()
        .map(|feature| feature.name.as_str())
        .collect();
    let expected = [
        "fixed_acidity",
        "volatile_acidity",
        "citric_acid",
        "residual_sugar",
        "chlorides",
        "free_sulfur_dioxide",
        "total_sulfur_dioxide",
        "density",
        "ph",
        "sulphates",
        "alcohol",
    ];
    assert_eq!(names, expected);
    assert!(
        view.features
            .iter()
            .all(|feature| feature.dtype == Dtype::Float64)
    );
    assert_eq!(
        (&view.join_keys[..], view.feature("alcohol")),
        (&["wine_id".to_owned()][..], Some(10))
    );
    assert_eq!(views.fed_by("wine_push").len(), 1);
    assert!(views.fed_by("other").is_empty());
    assert_eq!(views.service("wine_quality").unwrap().len(), 11);
    assert!(views.is_join_key("wine_id") && !views.is_join_key("alcohol"));
}

#[test]
fn reads_services_and_ttl() {
    let text = r#"
        [[feature_view]]
        name = "a"
        join_keys = ["x", "y"]
        ttl = "12h"
        features = [{ name = "f", dtype = "float32" }, { name = "g", dtype = "bool" }]
        [[feature_view]]
        name = "b"
        join_keys = ["y"]
        features = [{ name = "f", dtype = "bytes" }]
        [[feature_service]]
        name = "s"
        features = ["b:f", "a"]
    "#;
    let views = Views::parse(text).unwrap();
    assert_eq!(views.view("a").unwrap().ttl, Some(Duration::from_hours(12)));
    assert_eq!(views.view("b").unwrap().ttl, None);
    let of = |view, feature| FeatureRef { view, feature };
    assert_eq!(views.service("s").unwrap(), [of(1, 0), of(0, 0), of(0, 1)]);
}

/// A view `v` with these lines instead of the usual ones.
fn complaint(join_keys: &str, features: &str, more: &str) -> String {
    let text = format!(
        "[[feature_view]]\nname = \"v\"\njoin_keys = {join_keys}\nfeatures = {features}\n{more}"
    );
    Views::parse(&text).unwrap_err().to_string()
}

#[test]
fn a_mistake_is_reported_with_its_key() {
    const KEYS: &str = r#"["id"]"#;
    const FEATURES: &str = r#"[{ name = "f", dtype = "bool" }]"#;
    let rule = "is not a name: up to 63 letters, digits and underscores, not beginning with a digit or two underscores";
    for (keys, features, more, expected) in [
        (
            "[]",
            FEATURES,
            "",
            r#"feature_view "v" join_keys: is empty"#,
        ),
        (KEYS, "[]", "", r#"feature_view "v" features: is empty"#),
        (
            r#"["id", "ID"]"#,
            FEATURES,
            "",
            r#"feature_view "v" join_keys: "ID" is declared twice"#,
        ),
        (
            r#"["f"]"#,
            FEATURES,
            "",
            r#"feature_view "v" features: "f" is declared twice"#,
        ),
        (
            r#"["a-b"]"#,
            FEATURES,
            "",
            &format!(r#"feature_view "v" join_keys: "a-b" {rule}"#),
        ),
        (
            r#"["__a"]"#,
            FEATURES,
            "",
            &format!(r#"feature_view "v" join_keys: "__a" {rule}"#),
        ),
        (
            r#"["1a"]"#,
            FEATURES,
            "",
            &format!(r#"feature_view "v" join_keys: "1a" {rule}"#),
        ),
        (
            r#"["created"]"#,
            FEATURES,
            "",
            r#"feature_view "v" join_keys: "created" is reserved"#,
        ),
        (
            KEYS,
            FEATURES,
            "ttl = \"1w\"",
            r#"feature_view "v" ttl: "1w" is not a time such as 30d, 12h, 45m, 10s or 500ms"#,
        ),
        (
            KEYS,
            FEATURES,
            "push_source = \"\"",
            r#"feature_view "v" push_source: is empty"#,
        ),
        (
            KEYS,
            FEATURES,
            "[[feature_service]]\nname = \"s\"\nfeatures = [\"v:g\"]",
            r#"feature_service "s" features: there is no "v:g""#,
        ),
        (
            KEYS,
            FEATURES,
            "[[feature_service]]\nname = \"s\"\nfeatures = []",
            r#"feature_service "s" features: is empty"#,
        ),
    ] {
        assert_eq!(complaint(keys, features, more), expected);
    }
    let twice = "[[feature_view]]\nname = \"V\"\njoin_keys = [\"id\"]\nfeatures = [{ name = \"f\", dtype = \"bool\" }]";
    assert_eq!(
        complaint(KEYS, FEATURES, twice),
        r#"feature_view "V": is declared twice"#
    );
    assert_eq!(
        Views::parse("").unwrap_err().to_string(),
        "feature_view: there is none"
    );
}

#[test]
fn a_syntax_error_is_reported_with_its_line() {
    for (text, line) in [
        (
            "[[feature_view]]\nname = \"v\"\njoin_keys = [\"id\"]\nfeatures = [{ name = \"f\", dtype = \"decimal\" }]",
            "line 4",
        ),
        (
            "[[feature_view]]\nname = \"v\"\njoin_key = [\"id\"]\nfeatures = []",
            "line 3",
        ),
        ("[[feature_view]]\nname = ", "line 2"),
    ] {
        let ViewsError::Syntax(error) = Views::parse(text).unwrap_err() else {
            panic!("{text} is a mistake of form")
        };
        assert!(error.to_string().contains(line), "{error}");
    }
    let error = Views::load(Some(Path::new("/nowhere/views.toml"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the feature views in /nowhere/views.toml"
    );
}
