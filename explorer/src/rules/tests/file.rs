//! The file of rules, and the same rules for Prometheus.

use crate::rules::{DEFAULT_RULES, RuleSet};

fn problem(rule: &str) -> String {
    let text = format!("[[rules]]\nname = \"r\"\nsummary = \"s\"\nwindow = \"1m\"\n{rule}");
    let error = RuleSet::parse(&text).map(|_| ()).unwrap_err();
    runtime::chain(&error)
}

#[test]
fn a_rule_that_contradicts_itself_is_named_with_what_to_do() {
    for (rule, expected) in [
        (
            "kind = \"error_rate\"",
            "rule `r`: `above` is missing: the share that may fail",
        ),
        (
            "kind = \"error_rate\"\nabove = 2",
            "`above` must be at least 0 and below 1",
        ),
        ("kind = \"latency\"", "`longer_than` is missing"),
        (
            "kind = \"latency\"\nlonger_than = \"1s\"\nabove = 1",
            "`above` is no field of the kind `latency`",
        ),
        (
            "kind = \"latency\"\nlonger_than = \"1s\"\nquantile = 1",
            "`quantile` must be",
        ),
        (
            "kind = \"latency\"\nlonger_than = \"1\"",
            "line 6: `1` needs a unit",
        ),
        (
            "kind = \"attribute\"\nattribute = \"a\"",
            "give one of `above` and `below`",
        ),
        (
            "kind = \"attribute\"\nabove = 1\nbelow = 1\nattribute = \"a\"",
            "give one of `above` and `below`",
        ),
        ("kind = \"attribute\"\nabove = 1", "`attribute` is missing"),
        (
            "kind = \"attribute\"\nabove = nan\nattribute = \"a\"",
            "must be finite",
        ),
        ("kind = \"event\"", "`event` is missing"),
        (
            "kind = \"event\"\nevent = \"e\"\nshare = 0.1",
            "need `attribute`",
        ),
        (
            "kind = \"event\"\nevent = \"e\"\nspan = \"s\"",
            "`span` is no field of the kind `event`",
        ),
        ("kind = \"metric\"\nabove = 1", "`metric` is missing"),
        (
            "kind = \"metric\"\nmetric = \"m\"\nabove = 1\nhysteresis = 1",
            "`hysteresis` must be",
        ),
        (
            "kind = \"error_rate\"\nabove = 0.1\nspan_kind = \"x\"",
            "`span_kind` is internal",
        ),
        (
            "kind = \"error_rate\"\nabove = 0.1\nfor = \"25h\"",
            "24h at most",
        ),
        ("kind = \"other\"", "line 5: unknown variant `other`"),
        (
            "kind = \"error_rate\"\nabove = 0.1\nthreshold = 3",
            "line 7: unknown field `threshold`",
        ),
        (
            "kind = \"error_rate\"\nabove = 0.1\n[[rules]]\nname = \"r\"\nsummary = \"s\"\nwindow = \"1m\"\nkind = \"error_rate\"\nabove = 0.1",
            "another rule has this name",
        ),
    ] {
        let problem = problem(rule);
        assert!(problem.contains(expected), "{rule}: {problem}");
    }
    for window in ["0s", "25h"] {
        let text = format!(
            "[[rules]]\nname = \"r\"\nsummary = \"s\"\nkind = \"error_rate\"\nabove = 0.1\nwindow = \"{window}\""
        );
        let error = RuleSet::parse(&text).map(|_| ()).unwrap_err().to_string();
        assert!(
            error.contains("`window` must be between 1s and 24h"),
            "{error}"
        );
    }
}

#[test]
fn the_address_of_the_webhook_is_a_web_address_and_is_never_shown_whole() {
    for address in [
        "ftp://a/token",
        "file:///token",
        "//a/token",
        "token",
        "http://",
    ] {
        let text = format!("[webhook]\nurl = \"{address}\"");
        let error = runtime::chain(&RuleSet::parse(&text).map(|_| ()).unwrap_err());
        assert!(!error.contains("token"), "{error}");
    }
    let set = RuleSet::parse("[webhook]\nurl = \"https://u:p@hooks.example/token?k=v\"").unwrap();
    let shown = format!("{set:?}");
    assert!(shown.contains("https://hooks.example"), "{shown}");
    for secret in ["token", "u:p", "k=v"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn settings_have_their_bounds() {
    for (text, expected) in [
        ("every = \"1ms\"", "`every` must be"),
        ("explorer_url = \"x\"", "`explorer_url`"),
        ("rule = 1", "line 1: unknown field `rule`"),
        ("= 1", "line 1"),
    ] {
        let error = RuleSet::parse(text).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_default_rules_are_rules() {
    let set = RuleSet::parse(DEFAULT_RULES).unwrap();
    let names: Vec<_> = set.facts().map(|facts| facts.name).collect();
    assert_eq!(
        names,
        [
            "errors",
            "latency",
            "stage-latency",
            "validation-accuracy",
            "drift",
            "confidence",
            "quality"
        ]
    );
}

#[test]
fn prometheus_gets_the_numbers_of_the_rule() {
    let set = RuleSet::parse(
        r#"
        [[rules]]
        name = "mine"
        summary = "it says \"stop\""
        severity = "page"
        action = "Look."
        kind = "metric"
        metric = "m"
        above = 3.5
        more_than = 7
        window = "90s"
        for = "2m"
        keep_firing_for = "500ms"

        [rules.prometheus]
        alert = "Mine"
        expr = """
        rate(m{a="b"}[{window}]) > {item}
          and m > {more_than}
        """

        [[rules]]
        name = "spans-only"
        summary = "s"
        kind = "error_rate"
        above = 0.1
        window = "1h"
        "#,
    )
    .unwrap();
    assert_eq!(
        set.prometheus(),
        "# Made by `throughline rules --prometheus`; change the file of rules instead.\n\
         # Not here, since it is about spans or log records only: spans-only\n\
         groups:\n  - name: throughline-rules\n    rules:\n      - alert: \"Mine\"\n        expr: |\n          \
         rate(m{a=\"b\"}[90s]) > 3.5\n          and m > 7\n        for: 2m\n        keep_firing_for: 500ms\n        \
         labels: {severity: page, rule: mine}\n        annotations:\n          summary: \"it says \\\"stop\\\"\"\n          \
         action: \"Look.\"\n"
    );
    let empty = RuleSet::parse("").unwrap().prometheus();
    assert!(empty.ends_with("    rules: []\n"), "{empty}");
}
