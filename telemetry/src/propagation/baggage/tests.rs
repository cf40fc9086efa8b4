//! What is kept of `baggage` headers.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderInjector;

use super::Baggage;
use crate::propagation::HeaderLines;

fn headers(lines: &[&str]) -> HeaderMap {
    let name = HeaderName::from_static("baggage");
    let lines = lines.iter();
    let value = |line: &&str| HeaderValue::from_bytes(line.as_bytes()).expect("a value");
    lines.map(|line| (name.clone(), value(line))).collect()
}

/// Keys and values, and the properties after a semicolon.
fn read(lines: &[&str]) -> BTreeMap<String, String> {
    let context = context(lines);
    let members = context.baggage().iter();
    members
        .map(|(key, (value, metadata))| match metadata.as_str() {
            "" => (key.to_string(), value.to_string()),
            metadata => (key.to_string(), format!("{value};{metadata}")),
        })
        .collect()
}

fn context(lines: &[&str]) -> Context {
    Baggage::default().extract_with_context(&Context::new(), &HeaderLines(&headers(lines)))
}

/// What goes out for what came in.
fn through(lines: &[&str]) -> Option<String> {
    let mut out = HeaderMap::new();
    Baggage::default().inject_context(&context(lines), &mut HeaderInjector(&mut out));
    let value = out.remove("baggage")?;
    Some(value.to_str().expect("text").to_owned())
}

#[test]
fn all_lines_are_one_list() {
    type Members = &'static [(&'static str, &'static str)];
    let cases: [(&[&str], Members); 8] = [
        (&["a=1", "b=2,c=3"], &[("a", "1"), ("b", "2"), ("c", "3")]),
        (&["a=1", "", " , b=2 ,"], &[("a", "1"), ("b", "2")]),
        (&["a=1,a=2"], &[("a", "2")]),
        (&[" a \t= 1 ; p = x ;q"], &[("a", "1;p = x ;q")]),
        (&["a=b=c"], &[("a", "b=c")]),
        (&["a=%20x%2Cy"], &[("a", " x,y")]),
        (&["a=%ff"], &[("a", "\u{fffd}")]),
        (&["a="], &[("a", "")]),
    ];
    for (lines, expected) in cases {
        let expected = expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        assert_eq!(read(lines), expected.collect(), "{lines:?}");
    }
}

#[test]
fn a_malformed_member_is_dropped_alone() {
    for bad in [
        "no-value",
        "=1",
        "k ey=1",
        "k(=1",
        "a=\"1\"",
        "a=x y",
        "a=b\\c",
        "ключ=1",
        "a=é",
    ] {
        let line = format!("good=1,{bad},after=2");
        assert_eq!(
            read(&[&line]).into_keys().collect::<Vec<_>>(),
            if line.is_ascii() {
                vec!["after", "good"]
            } else {
                vec![]
            },
            "{bad}: a line that is not ASCII cannot be read at all"
        );
        assert_eq!(read(&["good=1", bad]).len(), 1, "{bad}");
    }
}

#[test]
fn members_beyond_the_limits_are_dropped() {
    let members: Vec<_> = (0..70).map(|number| format!("k{number}=v")).collect();
    assert_eq!(read(&[&members.join(",")]).len(), 64);
    let lines: Vec<_> = members.iter().map(String::as_str).collect();
    assert_eq!(read(&lines).len(), 64);

    let exact = format!("a={}", "x".repeat(8190));
    assert_eq!(read(&[&exact]).len(), 1);
    assert_eq!(
        read(&[&format!("{exact}x"), "b=1"])
            .into_keys()
            .collect::<Vec<_>>(),
        ["b"]
    );
}

#[test]
fn what_goes_out_can_be_read_again_and_keeps_the_limit() {
    assert_eq!(through(&["a=1;p=2"]).as_deref(), Some("a=1;p=2"));
    assert_eq!(through(&["a=%25%2C%20"]).as_deref(), Some("a=%25%2C%20"));
    assert_eq!(through(&[]), None);
    // Each character that is not ASCII takes several bytes when it is encoded again.
    let long = format!("a={},b=1", "%ff".repeat(2000));
    let out = through(&[&long]).expect("baggage");
    assert_eq!(out, "b=1");
}
