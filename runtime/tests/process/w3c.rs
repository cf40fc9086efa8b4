//! Headers of callers, and what W3C Trace Context level 2 wants of them.
//!
//! The cases are those of the test suite of the W3C
//! (<https://github.com/w3c/trace-context/blob/main/test/test.py>) in our own form. They run against
//! the SERVER layer here and against every service in `tests/e2e/propagation.rs`.

/// The trace and the span that most cases name.
pub(crate) const TRACE: &str = "12345678901234567890123456789012";
pub(crate) const PARENT: &str = "1234567890123456";

/// One request.
pub(crate) struct Case {
    /// What is special about it.
    pub(crate) name: String,
    /// Its header lines, in order.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Whether [`TRACE`] goes on, and with which flags.
    pub(crate) continues: Option<&'static str>,
    /// What goes out as `tracestate`.
    pub(crate) state: Option<String>,
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = traceparents();
    cases.extend(repeated());
    cases.extend(good_states());
    cases.extend(bad_states());
    cases
}

fn case(name: &str, headers: &[(&'static str, &str)], continues: Option<&'static str>) -> Case {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Case {
        name: name.to_owned(),
        headers: headers.collect(),
        continues,
        state: None,
    }
}

/// One `traceparent` line each.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn traceparents() -> Vec<Case> {
    let ids = format!("{TRACE}-{PARENT}");
    let zeros = "0".repeat(32);
    let lines = [
        ("sampled", format!("00-{ids}-01"), Some("01")),
        ("not sampled", format!("00-{ids}-00"), Some("00")),
        ("random", format!("00-{ids}-02"), Some("02")),
        ("sampled and random", format!("00-{ids}-03"), Some("03")),
        (
            "unknown flags are cleared",
            format!("00-{ids}-ff"),
            Some("03"),
        ),
        ("only unknown flags", format!("00-{ids}-fc"), Some("00")),
        (
            "flags of a later version",
            format!("cc-{ids}-0b"),
            Some("03"),
        ),
        ("something after version 00", format!("00-{ids}-01."), None),
        (
            "more after version 00",
            format!("00-{ids}-01-what-the-future-will-be-like"),
            None,
        ),
        ("a dash after version 00", format!("00-{ids}-01-"), None),
        ("a later version", format!("cc-{ids}-01"), Some("01")),
        (
            "more of a later version",
            format!("cc-{ids}-01-what-comes"),
            Some("01"),
        ),
        (
            "a later version without a dash",
            format!("cc-{ids}-01.what-comes"),
            None,
        ),
        ("the forbidden version", format!("ff-{ids}-01"), None),
        ("a dot in the version", format!(".0-{ids}-01"), None),
        (
            "a dot at the end of the version",
            format!("0.-{ids}-01"),
            None,
        ),
        ("a version of three digits", format!("000-{ids}-01"), None),
        ("a version of four digits", format!("0000-{ids}-01"), None),
        ("a version of one digit", format!("0-{ids}-01"), None),
        ("no version", format!("{ids}-01"), None),
        ("trace id zero", format!("00-{zeros}-{PARENT}-01"), None),
        (
            "trace id with a dot",
            format!("00-.{}-{PARENT}-01", &TRACE[1..]),
            None,
        ),
        (
            "trace id with a dot at its end",
            format!("00-{}.-{PARENT}-01", &TRACE[1..]),
            None,
        ),
        (
            "trace id too long",
            format!("00-{TRACE}3-{PARENT}-01"),
            None,
        ),
        (
            "trace id too short",
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            None,
        ),
        (
            "trace id in capitals",
            format!("00-{}A-{PARENT}-01", &TRACE[1..]),
            None,
        ),
        (
            "parent id zero",
            format!("00-{TRACE}-{}-01", &zeros[16..]),
            None,
        ),
        (
            "parent id with a dot",
            format!("00-{TRACE}-.{}-01", &PARENT[1..]),
            None,
        ),
        (
            "parent id with a dot at its end",
            format!("00-{TRACE}-{}.-01", &PARENT[1..]),
            None,
        ),
        (
            "parent id too long",
            format!("00-{TRACE}-{PARENT}7-01"),
            None,
        ),
        (
            "parent id too short",
            format!("00-{TRACE}-{}-01", &PARENT[1..]),
            None,
        ),
        ("flags with a dot", format!("00-{ids}-.0"), None),
        (
            "flags with a dot at their end",
            format!("00-{ids}-0."),
            None,
        ),
        ("flags too long", format!("00-{ids}-001"), None),
        ("flags too short", format!("00-{ids}-1"), None),
        ("no flags", format!("00-{ids}"), None),
        ("empty", String::new(), None),
        ("white space before", format!(" \t00-{ids}-01"), Some("01")),
        ("white space after", format!("00-{ids}-01\t "), Some("01")),
    ];
    let mut cases: Vec<_> = lines
        .iter()
        .map(|(name, line, continues)| case(name, &[("traceparent", line)], *continues))
        .collect();
    let line = format!("00-{ids}-01");
    for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        cases.push(case(name, &[(name, &line)], Some("01")));
    }
    for name in ["trace-parent", "trace.parent"] {
        cases.push(case(name, &[(name, &line)], None));
    }
    cases
}

/// More than one `traceparent`, or none.
fn repeated() -> Vec<Case> {
    let line = format!("00-{TRACE}-{PARENT}-01");
    let other = format!("00-{}1-{PARENT}-01", &TRACE[..31]);
    vec![
        case("no header", &[], None),
        case(
            "two traces",
            &[("traceparent", &other), ("traceparent", &line)],
            None,
        ),
        case(
            "one line twice",
            &[("traceparent", &line), ("traceparent", &line)],
            None,
        ),
        case(
            "one line and nonsense",
            &[("traceparent", &line), ("traceparent", "x")],
            None,
        ),
        case(
            "two in one line",
            &[("traceparent", &format!("{line},{line}"))],
            None,
        ),
        case("tracestate alone", &[("tracestate", "foo=1")], None),
    ]
}

/// `tracestate` lines beside a good `traceparent`, and what goes out for them.
fn with_state(name: &str, lines: &[&str], state: Option<&str>) -> Case {
    let parent = format!("00-{TRACE}-{PARENT}-00");
    let mut headers = vec![("traceparent", parent.as_str())];
    headers.extend(lines.iter().map(|line| ("tracestate", *line)));
    Case {
        state: state.map(str::to_owned),
        ..case(name, &headers, Some("00"))
    }
}

/// Members with the numbers of a range.
fn numbered(numbers: std::ops::RangeInclusive<u32>) -> String {
    let members: Vec<_> = numbers
        .map(|number| format!("bar{number:02}={number:02}"))
        .collect();
    members.join(",")
}

fn good_states() -> Vec<Case> {
    let same = |name: &str, line: &str| with_state(name, &[line], Some(line));
    let letters: String = ('a'..='z').collect();
    let key = format!("{letters}0123456789_-*/");
    let value: String = (' '..='~').filter(|sign| !",=".contains(*sign)).collect();
    let tens = [1..=10, 11..=20, 21..=30, 31..=32].map(numbered);
    let long = |name: &str, key: &str| {
        let line = format!("{key}=1");
        with_state(name, &["foo=1", &line], Some(&format!("foo=1,{line}")))
    };
    vec![
        same("two members", "foo=1,bar=2"),
        with_state("an empty state", &[""], None),
        with_state("an empty line after", &["foo=1", ""], Some("foo=1")),
        with_state("an empty line before", &["", "foo=1"], Some("foo=1")),
        with_state("empty members", &["foo=1,,bar=2,"], Some("foo=1,bar=2")),
        with_state(
            "several lines are one list",
            &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
            Some("foo=1,bar=2,rojo=1,congo=2,baz=3"),
        ),
        same("a key twice", "foo=1,foo=2"),
        with_state(
            "a key on two lines",
            &["foo=1", "foo=1"],
            Some("foo=1,foo=1"),
        ),
        same("every sign", &format!("{key}={value}")),
        same(
            "every sign with a vendor",
            &format!("{key}@a-z0-9_-*/={value}"),
        ),
        with_state(
            "white space between members",
            &["foo=1 \t , \t bar=2, \t baz=3"],
            Some("foo=1,bar=2,baz=3"),
        ),
        with_state("white space around", &["\t foo=1 \t"], Some("foo=1")),
        same("nothing after the at sign", "foo@=1,bar=2"),
        same("two at signs", "foo@@bar=1,bar=2"),
        same("two vendors", "foo@bar@baz=1,bar=2"),
        with_state(
            "32 members on several lines",
            &tens.each_ref().map(String::as_str),
            Some(&tens.join(",")),
        ),
        long("a key of 256", &"z".repeat(256)),
        long(
            "a long key with a vendor",
            &format!("{}@{}", "t".repeat(241), "v".repeat(14)),
        ),
        long(
            "a longer key with a vendor",
            &format!("{}@v", "t".repeat(242)),
        ),
        long("a vendor of 15", &format!("t@{}", "v".repeat(15))),
        same("a value of 256", &format!("foo={}", "v".repeat(256))),
    ]
}

fn bad_states() -> Vec<Case> {
    let bad = |name: &str, line: &str| with_state(name, &["good=1", line], None);
    vec![
        bad("a space in the key", "foo =1"),
        bad("capitals in the key", "FOO=1"),
        bad("a dot in the key", "foo.bar=1"),
        bad("a key that starts with the at sign", "@foo=1,bar=2"),
        bad("33 members", &numbered(1..=32)),
        bad("a key of 257", &format!("{}=1", "z".repeat(257))),
        bad("a value of 257", &format!("foo={}", "v".repeat(257))),
        bad("an equals sign in the value", "foo=bar=baz"),
        bad("an empty value", "foo=,bar=3"),
        bad("an empty key", "=1"),
        bad("no value", "foo"),
    ]
}
