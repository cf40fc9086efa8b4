//! The binary tensor data extension: raw tensors in the request, in the answer, or in both.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use super::Case;
use super::data::{HOLE, data_ids, features, wines};
use super::json::{numbers, reference};
use super::target::{Reply, Target, output, output_names, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("raw FP32, FP64 and INT64 in", raw_numbers),
    ("raw BYTES in", raw_data_ids),
    ("all outputs raw", raw_answer),
    ("raw in and raw out, as tritonclient does", both_ways),
    ("some outputs raw", some_raw_outputs),
    (
        "a raw value that is no number fails its row only",
        not_a_number,
    ),
    ("failed rows in raw outputs", raw_failures),
];

/// A body of JSON and raw tensors, and the length of the JSON.
pub(super) fn body(head: &Value, tail: &[u8]) -> (usize, Vec<u8>) {
    let mut body = head.to_string().into_bytes();
    let length = body.len();
    body.extend_from_slice(tail);
    (length, body)
}

/// An input of `rows` rows whose data are `size` raw bytes.
fn raw_features(rows: usize, datatype: &str, size: usize) -> Value {
    json!({"name": "features", "shape": [rows, 11], "datatype": datatype, "parameters": {"binary_data_size": size}})
}

/// Wines as raw FP32.
pub(super) fn raw_wines(count: usize) -> Vec<u8> {
    wines()[..count]
        .iter()
        .flat_map(super::data::Wine::floats)
        .flat_map(f32::to_le_bytes)
        .collect()
}

/// The request of tritonclient for `count` wines.
pub(super) fn raw_request(count: usize) -> (usize, Vec<u8>) {
    let tail = raw_wines(count);
    let head = json!({"id": "req-1", "inputs": [raw_features(count, "FP32", tail.len())],
        "parameters": {"binary_data_output": true}});
    body(&head, &tail)
}

fn send(target: &Target<'_>, head: &Value, tail: &[u8]) -> Result<Reply> {
    let (length, body) = body(head, tail);
    target.infer(body).json_length(length).send()
}

/// The outputs of an answer with raw tensors, converted to their JSON form.
pub(super) fn unpacked(length: &str, body: &[u8]) -> Result<Value> {
    let length: usize = length
        .parse()
        .context("the answer has no length of its JSON")?;
    let (head, mut tail) = body
        .split_at_checked(length)
        .context("the JSON is longer than the answer")?;
    let mut answer: Value = serde_json::from_slice(head)?;
    for output in answer["outputs"].as_array_mut().into_iter().flatten() {
        let Some(size) = output["parameters"]["binary_data_size"].as_u64() else {
            continue;
        };
        ensure!(output.get("data").is_none(), "raw and JSON at once");
        let (raw, rest) = tail
            .split_at_checked(usize::try_from(size)?)
            .context("the tensors are cut off")?;
        output["data"] = if output["datatype"] == "BYTES" {
            texts(raw)?
        } else {
            floats(raw)
        };
        output
            .as_object_mut()
            .map(|output| output.remove("parameters"));
        tail = rest;
    }
    ensure!(tail.is_empty(), "{} bytes are left over", tail.len());
    Ok(answer)
}

fn texts(mut raw: &[u8]) -> Result<Value> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = raw.split_first_chunk() {
        let (text, rest) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .context("a text is cut off")?;
        texts.push(std::str::from_utf8(text)?);
        raw = rest;
    }
    Ok(json!(texts))
}

fn floats(raw: &[u8]) -> Value {
    json!(
        raw.as_chunks()
            .0
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect::<Vec<_>>()
    )
}

/// The answer of a request for raw outputs.
fn raw(reply: &Reply) -> Result<Value> {
    let text = String::from_utf8_lossy(&reply.body);
    ensure!(reply.status == StatusCode::OK, "{}: {text}", reply.status);
    same(
        "content-type",
        &reply.header("content-type"),
        &"application/octet-stream",
    )?;
    unpacked(reply.header("inference-header-content-length"), &reply.body)
}

/// Raw and JSON numbers are the same when no digit of either is lost.
fn same_outputs(found: &Value, expected: &Value) -> Result<()> {
    let (found, expected) = (json!({"outputs": found}), json!({"outputs": expected}));
    same("outputs", &output_names(&found), &output_names(&expected))?;
    for name in output_names(&expected) {
        let (found, expected) = (output(&found, name)?, output(&expected, name)?);
        same(
            name,
            &json!([found["shape"], found["datatype"]]),
            &json!([expected["shape"], expected["datatype"]]),
        )?;
        if expected["datatype"] == "BYTES" {
            same(name, &found["data"], &expected["data"])?;
        } else {
            let single = |output| {
                Ok(numbers(output)?
                    .into_iter()
                    .map(|number| number as f32)
                    .collect::<Vec<_>>())
            };
            let (found, expected): (Result<_>, Result<_>) = (single(found), single(expected));
            same(name, &found?, &expected?)?;
        }
    }
    Ok(())
}

fn raw_numbers(target: &Target<'_>) -> Result<()> {
    let expected = reference(target, &wines()[..3])?;
    let tail = raw_wines(3);
    let answer = send(
        target,
        &json!({"inputs": [raw_features(3, "FP32", tail.len())]}),
        &tail,
    )?
    .json_ok()?;
    same("FP32", &answer["outputs"], &expected)?;
    let texts = wines()[..3].iter().flat_map(|wine| &wine.features);
    let doubles: Vec<u8> = texts
        .flat_map(|text| {
            text.parse::<f64>()
                .expect("the data set holds numbers")
                .to_le_bytes()
        })
        .collect();
    let answer = send(
        target,
        &json!({"inputs": [raw_features(3, "FP64", doubles.len())]}),
        &doubles,
    )?
    .json_ok()?;
    same("FP64", &answer["outputs"], &expected)?;
    let whole = [7_i64, 1, 0, 2, 0, 11, 34, 1, 3, 1, 9];
    let tail: Vec<u8> = whole.into_iter().flat_map(i64::to_le_bytes).collect();
    let answer = send(
        target,
        &json!({"inputs": [raw_features(1, "INT64", tail.len())]}),
        &tail,
    )?
    .json_ok()?;
    let plain = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": whole});
    same(
        "INT64",
        &answer["outputs"],
        &target.infer_json(&json!({"inputs": [plain]}))?["outputs"],
    )
}

fn raw_data_ids(target: &Target<'_>) -> Result<()> {
    let ids = ["wine-0001", "wine-0777"];
    let expected = target.infer_json(&json!({"inputs": [data_ids(&ids)]}))?;
    let tail: Vec<u8> = ids
        .iter()
        .flat_map(|id| [&9_u32.to_le_bytes()[..], id.as_bytes()].concat())
        .collect();
    for shape in [json!([2]), json!([2, 1])] {
        let input = json!({"name": "data_id", "shape": shape, "datatype": "BYTES",
            "parameters": {"binary_data_size": tail.len()}});
        let answer = send(target, &json!({"inputs": [input]}), &tail)?.json_ok()?;
        same("outputs", &answer["outputs"], &expected["outputs"])?;
    }
    Ok(())
}

fn raw_answer(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..3];
    let body = json!({"inputs": [features(wines)], "parameters": {"binary_data_output": true}});
    let answer = raw(&target.infer(body.to_string()).send()?)?;
    same_outputs(&answer["outputs"], &reference(target, wines)?)
}

fn both_ways(target: &Target<'_>) -> Result<()> {
    let (length, body) = raw_request(3);
    let answer = raw(&target.infer(body).json_length(length).send()?)?;
    same("id", &answer["id"], &json!("req-1"))?;
    same_outputs(&answer["outputs"], &reference(target, &wines()[..3])?)
}

fn some_raw_outputs(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..2];
    let expected = reference(target, wines)?;
    // The setting of one output wins over that of the whole request.
    let body = json!({"inputs": [features(wines)], "parameters": {"binary_data_output": true}, "outputs": [
        {"name": "label", "parameters": {"binary_data": false}},
        {"name": "confidence", "parameters": {"binary_data": true}},
        {"name": "probabilities"},
    ]});
    let reply = target.infer(body.to_string()).send()?;
    let length: usize = reply.header("inference-header-content-length").parse()?;
    let head: Value = serde_json::from_slice(&reply.body[..length])?;
    let size = |name: &str| {
        Ok::<_, anyhow::Error>(output(&head, name)?["parameters"]["binary_data_size"].clone())
    };
    let sizes = [size("label")?, size("confidence")?, size("probabilities")?];
    same("raw sizes", &sizes, &[Value::Null, json!(8), json!(16)])?;
    same_outputs(&raw(&reply)?["outputs"], &expected)
}

fn not_a_number(target: &Target<'_>) -> Result<()> {
    let mut tail = raw_wines(3);
    tail[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
    tail[96..100].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let answer = send(
        target,
        &json!({"inputs": [raw_features(3, "FP32", tail.len())]}),
        &tail,
    )?
    .json_ok()?;
    same(
        "error",
        &output(&answer, "error")?["data"],
        &json!(["missing_features", "", "missing_features"]),
    )?;
    let good = json!({"outputs": reference(target, &wines()[1..2])?});
    same(
        "label",
        &output(&answer, "label")?["data"],
        &json!(["", output(&good, "label")?["data"][0], ""]),
    )?;
    let confidence = numbers(output(&good, "confidence")?)?[0];
    let found = numbers(output(&answer, "confidence")?)?;
    ensure!(
        found[0] == 0.0 && (found[1] - confidence).abs() < 1e-6 && found[2] == 0.0,
        "{found:?}"
    );
    Ok(())
}

fn raw_failures(target: &Target<'_>) -> Result<()> {
    let body = json!({"inputs": [data_ids(&["wine-0001", HOLE])], "parameters": {"binary_data_output": true}});
    let answer = raw(&target.infer(body.to_string()).send()?)?;
    same(
        "error",
        &output(&answer, "error")?["data"],
        &json!(["", "missing_features"]),
    )?;
    let alone = target.infer_json(&json!({"inputs": [data_ids(&["wine-0001"])]}))?;
    same(
        "label",
        &output(&answer, "label")?["data"],
        &json!([output(&alone, "label")?["data"][0], ""]),
    )
}
