//! Requests that must be refused, each with its status and code, and with a sentence.

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::Case;
use super::binary::{body, raw_wines};
use super::data::{data_ids, features, wines};
use super::target::{Target, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("bodies that are no message", no_message),
    ("inputs that are not the model's", wrong_inputs),
    ("shapes", wrong_shapes),
    ("elements", wrong_elements),
    ("outputs, parameters and ids", wrong_requested_outputs),
    ("raw tensors", wrong_raw_tensors),
    ("no time to answer", no_time),
    ("too many rows", too_many_rows),
    ("addresses of nothing", wrong_addresses),
    ("a method that HTTP does not know", strange_method),
];

/// Each body must be refused as malformed.
fn malformed(
    target: &Target<'_>,
    bodies: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, body) in bodies {
        let reply = target.infer(body).send()?;
        wrong.extend(
            reply
                .refused(400, "bad_request")
                .err()
                .map(|error| format!("{name}: {error:#}")),
        );
    }
    none_wrong(&wrong)
}

fn none_wrong(wrong: &[String]) -> Result<()> {
    ensure!(wrong.is_empty(), "{}", wrong.join("\n    "));
    Ok(())
}

/// A message with these members of one input `features`, over those of a good one.
fn with_input(members: &Value) -> (String, Vec<u8>) {
    let mut input = features(&wines()[..1]);
    for (name, value) in members.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    let body = json!({"inputs": [input]}).to_string();
    (
        members.to_string().chars().take(120).collect(),
        body.into_bytes(),
    )
}

fn no_message(target: &Target<'_>) -> Result<()> {
    let deep = 100_000;
    let texts = [
        String::new(),
        " ".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "{\"inputs\"".to_owned(),
        "{\"inputs\": null}".to_owned(),
        "{\"inputs\": {}}".to_owned(),
        "{\"inputs\": [7]}".to_owned(),
        "{\"inputs\": []}".to_owned(),
        "{\"inputs\": []} trailing".to_owned(),
        "{\"inputs\": [{\"name\": \"features\"}]}".to_owned(),
        "[".repeat(deep),
        format!("{{\"inputs\": {}{}}}", "[".repeat(deep), "]".repeat(deep)),
        format!(
            "{{\"inputs\": [], \"unknown\": {}{}}}",
            "{\"a\":".repeat(deep),
            "}".repeat(deep)
        ),
        format!(
            r#"{{"inputs": [{{"name": "features", "shape": [1, 11], "datatype": "FP32", "data": {}1{}}}]}}"#,
            "[".repeat(deep),
            "]".repeat(deep)
        ),
        format!(
            r#"{{"inputs": [{{"name": "features", "shape": [1, 11], "datatype": "FP32", "data": [{}]}}]}}"#,
            "9".repeat(10_000)
        ),
    ];
    let texts = texts
        .into_iter()
        .map(|text| (text.chars().take(60).collect(), text.into_bytes()));
    let bytes = [
        &b"\xff\xfe\x00"[..],
        b"{\"inputs\": [{\"name\": \"\xff\"}]}",
        b"\x1f\x8b\x08\x00",
        b"\0\0\0\0",
    ];
    malformed(
        target,
        texts.chain(
            bytes
                .into_iter()
                .map(|bytes| (format!("{bytes:?}"), bytes.to_vec())),
        ),
    )
}

fn wrong_inputs(target: &Target<'_>) -> Result<()> {
    let good = features(&wines()[..1]);
    let lists = [
        json!([good, good]),
        json!([good, data_ids(&["wine-0001"])]),
        json!([{"name": "nothing", "shape": [1, 11], "datatype": "FP32", "data": good["data"]}]),
        json!([{"name": "label", "shape": [1], "datatype": "BYTES", "data": ["low"]}]),
        json!([{"name": "data_id", "shape": [1], "datatype": "FP32", "data": [1]}]),
        json!([{"name": "data_id", "shape": [1, 2], "datatype": "BYTES", "data": ["wine-0001", "wine-0002"]}]),
        json!([{"name": "data_id", "shape": [1, 1, 1], "datatype": "BYTES", "data": ["wine-0001"]}]),
        json!([{"name": "data_id", "shape": [], "datatype": "BYTES", "data": ["wine-0001"]}]),
        json!([{"name": "data_id", "shape": [0], "datatype": "BYTES", "data": []}]),
        json!([{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": [7]}]),
        json!([{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": [null]}]),
        json!([{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": "wine-0001"}]),
        json!([{"name": "data_id", "shape": [2], "datatype": "BYTES", "data": ["wine-0001"]}]),
    ];
    let bodies = lists.into_iter().map(|list| {
        (
            list.to_string(),
            json!({"inputs": list}).to_string().into_bytes(),
        )
    });
    malformed(target, bodies)
}

fn wrong_shapes(target: &Target<'_>) -> Result<()> {
    let shapes = [
        "[]",
        "[11]",
        "[1, 10]",
        "[1, 12]",
        "[2, 11]",
        "[11, 1]",
        "[1, 1, 11]",
        "[0, 11]",
        "[-1, 11]",
        "[1, -11]",
        "[-1, -11]",
        "[1.0, 11]",
        "[\"1\", 11]",
        "[null, 11]",
        "[true, 11]",
        "[[1], 11]",
        "{}",
        "null",
        "11",
        "[9223372036854775807, 11]",
        "[18446744073709551615, 11]",
        "[4294967296, 4294967296, 11]",
        "[36893488147419103232, 11]",
        "[1, 11, 1000000000000, 1000000000000, 0]",
    ];
    let many = format!("[{}11]", "1,".repeat(60));
    let shapes = shapes.into_iter().chain([many.as_str()]);
    malformed(
        target,
        shapes.map(|shape| {
            with_input(&json!({"shape": serde_json::from_str::<Value>(shape).unwrap_or_default()}))
        }),
    )
}

fn wrong_elements(target: &Target<'_>) -> Result<()> {
    let row = |first: Value| {
        let mut row = features(&wines()[..1])["data"].clone();
        row[0] = first;
        json!({"data": row})
    };
    let members = [
        row(json!("7.4")),
        row(Value::Null),
        row(json!(true)),
        row(json!({})),
        row(json!([7.4])),
        row(json!(1e39)),
        json!({"data": [[7.4, 0.7, 0], [0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56]]}),
        json!({"data": [[[7.4, 0.7, 0, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56]]]}),
        json!({"data": []}),
        json!({"data": 7.4}),
        json!({"data": "[]"}),
        json!({"data": {}}),
        json!({"data": null}),
        json!({"datatype": "FP99"}),
        json!({"datatype": "fp32"}),
        json!({"datatype": 7}),
        json!({"datatype": null}),
        json!({"datatype": "FP16"}),
        json!({"datatype": "BF16"}),
        json!({"datatype": "INT64"}),
        json!({"datatype": "BYTES", "data": vec!["7"; 11]}),
        json!({"datatype": "BOOL", "data": vec![true; 11]}),
        json!({"datatype": "INT8", "data": vec![128; 11]}),
        json!({"datatype": "UINT8", "data": vec![-1; 11]}),
        json!({"name": 7}),
        json!({"name": null}),
    ];
    malformed(target, members.iter().map(with_input))?;
    let text = String::from_utf8(with_input(&json!({})).1)?;
    let literal = |number: &str| {
        (
            number.to_owned(),
            text.replacen("7.4", number, 1).into_bytes(),
        )
    };
    malformed(
        target,
        [
            "NaN",
            "Infinity",
            "-Infinity",
            "1e999",
            "0x7",
            "+7",
            "07",
            ".7",
            "7.",
            "1_0",
        ]
        .map(literal),
    )
}

fn wrong_requested_outputs(target: &Target<'_>) -> Result<()> {
    let members = [
        json!({"outputs": [{"name": "nothing"}]}),
        json!({"outputs": [{"name": "label"}, {"name": "features"}]}),
        json!({"outputs": [{}]}),
        json!({"outputs": {}}),
        json!({"outputs": ["label"]}),
        json!({"id": 7}),
        json!({"id": ["r-1"]}),
        json!({"parameters": []}),
        json!({"parameters": {"list": [1]}}),
        json!({"parameters": {"map": {}}}),
        json!({"parameters": {"timeout": -1}}),
        json!({"parameters": {"timeout": 1.5}}),
        json!({"parameters": {"timeout": "soon"}}),
        json!({"parameters": {"timeout": true}}),
        json!({"parameters": {"timeout": -0.0}}),
        // Triton's classification extension.
        json!({"outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]}),
        json!({"outputs": [{"name": "label"}, {"name": "probabilities", "parameters": {"classification": 1}}]}),
    ];
    let bodies = members.into_iter().map(|members| {
        let mut body = json!({"inputs": [features(&wines()[..1])]});
        for (name, value) in members.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        (members.to_string(), body.to_string().into_bytes())
    });
    malformed(target, bodies)
}

fn wrong_raw_tensors(target: &Target<'_>) -> Result<()> {
    let tail = raw_wines(1);
    let input = |size: Value| json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "parameters": {"binary_data_size": size}});
    let ids = |size: usize| json!({"name": "data_id", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}});
    let mut both = input(json!(44));
    both["data"] = features(&wines()[..1])["data"].clone();
    let mut wide = input(json!(44));
    wide["shape"] = json!([4_611_686_018_427_387_904_u64, 4]);
    let inputs = [
        ("shorter than the shape", input(json!(40)), &tail[..40]),
        (
            "longer than the shape",
            input(json!(48)),
            &[&tail[..], &[0; 4]].concat()[..],
        ),
        ("past the end", input(json!(44)), &tail[..43]),
        (
            "left over",
            input(json!(44)),
            &[&tail[..], &[0; 1]].concat(),
        ),
        ("a size below zero", input(json!(-44)), &tail),
        ("a size that is no number", input(json!("44")), &tail),
        ("a size with a fraction", input(json!(44.5)), &tail),
        ("a size of everything", input(json!(u64::MAX)), &tail),
        ("raw and JSON", both, &tail),
        ("an overflowing shape", wide, &tail),
        ("a text without its length", ids(2), &[9, 0]),
        (
            "a text shorter than its length",
            ids(8),
            &[9, 0, 0, 0, b'w', b'i', b'n', b'e'],
        ),
        (
            "a text of four gigabytes",
            ids(5),
            &[0xff, 0xff, 0xff, 0xff, b'w'],
        ),
        (
            "two texts for one",
            ids(10),
            &[1, 0, 0, 0, b'a', 1, 0, 0, 0, b'b'],
        ),
        ("a text that is no UTF-8", ids(6), &[2, 0, 0, 0, 0xff, 0xfe]),
    ];
    let mut wrong = Vec::new();
    for (name, input, tail) in inputs {
        let (length, body) = body(&json!({"inputs": [input]}), tail);
        let reply = target.infer(body).json_length(length).send()?;
        wrong.extend(
            reply
                .refused(400, "bad_request")
                .err()
                .map(|error| format!("{name}: {error:#}")),
        );
    }
    let (length, good) = body(&json!({"inputs": [input(json!(44))]}), &tail);
    for header in [
        "0",
        "-1",
        "+1",
        "1.5",
        "many",
        "",
        "99999",
        "18446744073709551616",
        &format!("{}", length + 1),
        &format!("{}", length - 1),
    ] {
        let reply = target
            .infer(good.clone())
            .header("inference-header-content-length", header)
            .send()?;
        wrong.extend(
            reply
                .refused(400, "bad_request")
                .err()
                .map(|error| format!("header {header:?}: {error:#}")),
        );
    }
    none_wrong(&wrong)
}

fn no_time(target: &Target<'_>) -> Result<()> {
    for input in [features(&wines()[..1]), data_ids(&["wine-0001"])] {
        let body = json!({"inputs": [input], "parameters": {"timeout": 1}});
        target
            .infer(body.to_string())
            .send()?
            .refused(504, "deadline_passed")?;
    }
    Ok(())
}

fn too_many_rows(target: &Target<'_>) -> Result<()> {
    let many = |count| json!({"inputs": [features(&wines()[..count])]}).to_string();
    target.infer(many(1000)).send()?.json_ok()?;
    target
        .infer(many(1001))
        .send()?
        .refused(422, "too_many_rows")?;
    let ids = vec!["wine-0001"; 1001];
    target
        .infer(json!({"inputs": [data_ids(&ids)]}).to_string())
        .send()?
        .refused(422, "too_many_rows")
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn wrong_addresses(target: &Target<'_>) -> Result<()> {
    let foreign = if target.expected.versions == ["1"] {
        "2"
    } else {
        "1"
    };
    let infer = json!({"inputs": [features(&wines()[..1])]}).to_string();
    let cases = [
        (
            Method::GET,
            "/v2/models/nothing".to_owned(),
            404,
            "unknown_model",
        ),
        (
            Method::GET,
            "/v2/models/nothing/ready".to_owned(),
            404,
            "unknown_model",
        ),
        (
            Method::GET,
            "/v2/models/nothing/config".to_owned(),
            404,
            "unknown_model",
        ),
        (
            Method::GET,
            "/v2/models/nothing/versions/1".to_owned(),
            404,
            "unknown_model",
        ),
        (
            Method::POST,
            "/v2/models/nothing/infer".to_owned(),
            404,
            "unknown_model",
        ),
        (
            Method::POST,
            "/v2/models/nothing/versions/1/infer".to_owned(),
            404,
            "unknown_model",
        ),
        (
            Method::GET,
            "/v2/models/wine_quality/versions/99".to_owned(),
            404,
            "unknown_version",
        ),
        (
            Method::GET,
            "/v2/models/wine_quality/versions/99/ready".to_owned(),
            404,
            "unknown_version",
        ),
        (
            Method::GET,
            format!("/v2/models/wine_quality/versions/{foreign}"),
            404,
            "unknown_version",
        ),
        (
            Method::POST,
            "/v2/models/wine_quality/versions/99/infer".to_owned(),
            404,
            "unknown_version",
        ),
        (
            Method::POST,
            "/v2/models/wine_quality/versions/0/infer".to_owned(),
            404,
            "unknown_version",
        ),
        (
            Method::POST,
            "/v2/models/wine_quality/versions/01/infer".to_owned(),
            404,
            "unknown_version",
        ),
        (
            Method::POST,
            "/v2/models/wine_quality/versions/latest/infer".to_owned(),
            404,
            "unknown_version",
        ),
        (Method::GET, "/v2/nothing".to_owned(), 404, "unknown_path"),
        (
            Method::GET,
            "/v2/models/wine_quality/nothing".to_owned(),
            404,
            "unknown_path",
        ),
        // No redirects: they would lose the body of a POST.
        (
            Method::GET,
            "/v2/models/wine_quality/".to_owned(),
            404,
            "unknown_path",
        ),
        (
            Method::POST,
            "/v2/models/wine_quality/infer/".to_owned(),
            404,
            "unknown_path",
        ),
        (
            Method::GET,
            "/v2/models/wine_quality/infer".to_owned(),
            405,
            "method_not_allowed",
        ),
        (
            Method::PUT,
            "/v2/models/wine_quality/infer".to_owned(),
            405,
            "method_not_allowed",
        ),
        (
            Method::POST,
            "/v2/models/wine_quality".to_owned(),
            405,
            "method_not_allowed",
        ),
        (
            Method::DELETE,
            "/v2/models/wine_quality".to_owned(),
            405,
            "method_not_allowed",
        ),
        (
            Method::GET,
            "/v2/repository/index".to_owned(),
            405,
            "method_not_allowed",
        ),
        (Method::POST, "/v2".to_owned(), 405, "method_not_allowed"),
    ];
    let mut wrong = Vec::new();
    for (method, path, status, code) in cases {
        let reply = target
            .call(method.clone(), &path)
            .body(infer.clone())
            .send()
            .with_context(|| path.clone())?;
        wrong.extend(
            reply
                .refused(status, code)
                .err()
                .map(|error| format!("{method} {path}: {error:#}")),
        );
    }
    none_wrong(&wrong)
}

fn strange_method(target: &Target<'_>) -> Result<()> {
    let reply = target.call(Method::from_bytes(b"BREW")?, "/v2").send()?;
    let body: Value = serde_json::from_slice(&reply.body)?;
    let (status, code) = target.expected.strange_method;
    same(
        "status and code",
        &json!([reply.status.as_u16(), body["code"]]),
        &json!([status, code]),
    )?;
    ensure!(body["error"].is_string(), "{body}");
    same(
        "content-type",
        &reply.header("content-type"),
        &"application/json",
    )
}
