//! From the query string to the filter, and what is said about a wrong one.

use crate::filter::{Condition, Filter, Parameters, Sort, condition::Wanted};

const NOW: u64 = 1_760_000_000_000_000_000;

fn parse(query: &str) -> Result<Filter, String> {
    Parameters::parse(query).filter(NOW)
}

fn condition(text: &str) -> Condition {
    Condition::parse(text).unwrap()
}

#[test]
fn every_parameter_is_read() {
    let filter = parse(
        "service=gateway&model=wine&variant=canary&version=2&status=error&cached=no&min_duration_ms=1.5\
         &max_duration_ms=20&since=15m&until=2025-10-09T08:53:20Z&where=a+is+b&where=c+%3E+4&q=+text+&sort=slowest&limit=7",
    );
    let expected = Filter {
        service: Some("gateway".to_owned()),
        conditions: vec![
            Condition::is("ml.model_name", "wine"),
            Condition::is("ml.variant", "canary"),
            Condition::is("ml.model_version", "2"),
            condition("a is b"),
            condition("c > 4"),
        ],
        failed: Some(true),
        min_duration: Some(1_500_000),
        max_duration: Some(20_000_000),
        cached: Some(false),
        since: Some(NOW - 900_000_000_000),
        until: Some(NOW),
        text: Some("text".to_owned()),
        sort: Sort::Slowest,
        limit: 7,
    };
    assert_eq!(filter, Ok(expected));
}

#[test]
fn empty_fields_of_a_form_do_not_filter() {
    let plain = Filter {
        limit: 100,
        ..Filter::default()
    };
    assert_eq!(
        parse("service=&model=&where=+&q=&since=&compare=slow"),
        Ok(plain)
    );
}

#[test]
fn conditions_are_read_word_by_word() {
    let is = |text: &str| Wanted::Is(text.to_owned(), None);
    for (text, key, negated, wanted) in [
        ("k is low", "k", false, is("low")),
        ("k is not low", "k", true, is("low")),
        (r#"k is "not low""#, "k", false, is("not low")),
        (r#"k is """#, "k", false, is("")),
        ("k is  two words ", "k", false, is("two words")),
        ("k is 5", "k", false, Wanted::Is("5".to_owned(), Some(5.0))),
        (
            "k contains is not",
            "k",
            false,
            Wanted::Contains("is not".to_owned()),
        ),
        (
            "k does not contain x",
            "k",
            true,
            Wanted::Contains("x".to_owned()),
        ),
        ("k >5", "k", false, Wanted::Above(5.0)),
        ("k < -1e3", "k", false, Wanted::Below(-1000.0)),
        (r#""a key" is "\"""#, "a key", false, is("\"")),
        ("is is is", "is", false, is("is")),
    ] {
        let expected = Condition {
            key: key.to_owned(),
            negated,
            wanted,
        };
        assert_eq!(condition(text), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_in_words() {
    for (query, part) in [
        ("status=maybe", "status must be ok or error, not \"maybe\""),
        ("cached=1", "cached must be no or yes"),
        (
            "min_duration_ms=NaN",
            "min_duration_ms must be a number of milliseconds",
        ),
        (
            "max_duration_ms=-1",
            "max_duration_ms must be a number of milliseconds",
        ),
        (
            "since=yesterday",
            "since \"yesterday\" is no time: write 15m",
        ),
        ("since=99999999999999d", "is no time"),
        ("limit=0", "limit must be between 1 and 1000"),
        ("sort=up", "sort must be newest, oldest, slowest or fastest"),
        ("service=a&service=b", "service is given more than once"),
        ("where=k", "the operators are is, is not, contains"),
        ("where=k+island", "the operators are"),
        ("where=k+is", "has no value after \"is\""),
        ("where=k+is+%22open", "is not one JSON string"),
        ("where=k+%3E+many", "\"many\" in \"k > many\" is no number"),
        (&"where=k+is+1&".repeat(21), "more than 20 conditions"),
    ] {
        let said = parse(query).unwrap_err();
        assert!(said.contains(part), "{query}: {said}");
    }
}

#[test]
fn links_change_some_parameters_and_keep_the_others() {
    let parameters = Parameters::parse("where=a+is+b%26&sort=oldest&where=c+is+d&q=");
    assert_eq!(
        parameters.with(&[("sort", Some("slowest")), ("compare", None)]),
        "where=a+is+b%26&where=c+is+d&sort=slowest"
    );
    assert_eq!(parameters.with(&[("where", None)]), "sort=oldest");
}
