//! Inference with JSON in and out: forms, numbers, names and versions.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use telemetry::SpanRef;

use super::Case;
use super::data::{Wine, data_ids, features, wines};
use super::target::{Target, output, output_names, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("an answer has everything that clients read", everything),
    ("flat and nested data are the same", nested),
    ("FP64, INT64 and INT32 are converted", other_numbers),
    ("a data id and its features are the same", by_data_id),
    (
        "data ids as a column, nested, escaped and repeated",
        layouts_of_data_ids,
    ),
    ("only the outputs asked for", requested_outputs),
    ("what other clients add is tolerated", tolerance),
    ("a version in the address", versions),
    ("most wines are judged as the tasters did", judgement),
    ("a generous timeout changes nothing, nor does none", timeout),
    ("requests at the same time keep apart", concurrency),
];

/// The outputs of some wines by their features, checked for consistency in themselves.
pub(super) fn reference(target: &Target<'_>, wines: &[Wine]) -> Result<Value> {
    let answer = target.infer_json(&json!({"inputs": [features(wines)]}))?;
    consistent(&answer, wines.len())?;
    Ok(answer["outputs"].clone())
}

/// Labels follow from probabilities, which sum to one; confidences are the larger of them.
fn consistent(answer: &Value, rows: usize) -> Result<()> {
    same(
        "the outputs",
        &output_names(answer),
        &vec!["label", "confidence", "probabilities"],
    )?;
    for (name, datatype, shape) in [
        ("label", "BYTES", json!([rows])),
        ("confidence", "FP32", json!([rows])),
        ("probabilities", "FP32", json!([rows, 2])),
    ] {
        let output = output(answer, name)?;
        same(
            name,
            &json!([output["datatype"], output["shape"]]),
            &json!([datatype, shape]),
        )?;
    }
    let labels = output(answer, "label")?["data"]
        .as_array()
        .context("labels")?;
    let confidences = numbers(output(answer, "confidence")?)?;
    let probabilities = numbers(output(answer, "probabilities")?)?;
    ensure!(
        labels.len() == rows && confidences.len() == rows && probabilities.len() == 2 * rows,
        "{answer}"
    );
    for ((label, confidence), pair) in labels
        .iter()
        .zip(confidences)
        .zip(probabilities.chunks_exact(2))
    {
        let expected = if pair[0] >= pair[1] { "low" } else { "high" };
        same("a label", label, &json!(expected))?;
        ensure!(
            (pair[0] + pair[1] - 1.0).abs() < 1e-5,
            "the probabilities {pair:?} do not sum to one"
        );
        ensure!(
            confidence.to_bits() == pair[0].max(pair[1]).to_bits(),
            "{confidence} is not the larger of {pair:?}"
        );
    }
    Ok(())
}

/// The data of an output as numbers.
pub(super) fn numbers(output: &Value) -> Result<Vec<f64>> {
    let data = output["data"].as_array().context("a list")?;
    data.iter()
        .map(|number| {
            number
                .as_f64()
                .with_context(|| format!("{number} is no number"))
        })
        .collect()
}

fn everything(target: &Target<'_>) -> Result<()> {
    let body = json!({"id": "r-1", "inputs": [features(&wines()[..3])]});
    let reply = target.infer(body.to_string()).send()?;
    let answer = reply.json_ok()?;
    consistent(&answer, 3)?;
    same("id", &answer["id"], &json!("r-1"))?;
    same("model_name", &answer["model_name"], &json!("wine_quality"))?;
    same(
        "model_version",
        &answer["model_version"],
        &json!(target.expected.versions.last()),
    )?;
    let run_id = answer["parameters"]["run_id"].as_str().unwrap_or_default();
    ensure!(
        run_id.len() == 32 && run_id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "run_id is {run_id:?}"
    );
    let traceparent = answer["parameters"]["traceparent"]
        .as_str()
        .unwrap_or_default();
    let span = SpanRef::from_traceparent(traceparent)
        .with_context(|| format!("traceparent is {traceparent:?}"))?;
    same(
        "the trace of the prediction",
        &span.trace_id.to_string(),
        &reply.trace_id,
    )?;
    let stages = |timing: &str| -> Vec<String> {
        timing
            .split(", ")
            .filter_map(|part| part.split_once(";dur="))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    same(
        "Server-Timing",
        &stages(reply.header("server-timing")),
        &vec!["queue".to_owned(), "compute".to_owned()],
    )?;
    let looked_up = target
        .infer(json!({"inputs": [data_ids(&["wine-0001"])]}).to_string())
        .send()?;
    ensure!(
        looked_up.json_ok()?.get("id").is_none(),
        "an id that nobody gave"
    );
    same(
        "Server-Timing",
        &stages(looked_up.header("server-timing")).join(" "),
        &"features queue compute".to_owned(),
    )
}

fn nested(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..4];
    let mut input = features(wines);
    input["data"] = wines.iter().map(Wine::numbers).collect();
    same(
        "nested",
        &target.infer_json(&json!({"inputs": [input]}))?["outputs"],
        &reference(target, wines)?,
    )
}

fn other_numbers(target: &Target<'_>) -> Result<()> {
    let mut input = features(&wines()[..4]);
    input["datatype"] = json!("FP64");
    let answer = target.infer_json(&json!({"inputs": [input]}))?;
    same(
        "FP64",
        &answer["outputs"],
        &reference(target, &wines()[..4])?,
    )?;
    let whole = |datatype: &str| {
        let data = [
            [7, 1, 0, 2, 0, 11, 34, 1, 3, 1, 9],
            [8, 0, 1, 2, 0, 30, 90, 1, 3, 2, 13],
        ];
        json!({"inputs": [{"name": "features", "shape": [2, 11], "datatype": datatype, "data": data}]})
    };
    let expected = target.infer_json(&whole("FP32"))?;
    consistent(&expected, 2)?;
    for datatype in ["INT64", "INT32", "FP64"] {
        same(
            datatype,
            &target.infer_json(&whole(datatype))?["outputs"],
            &expected["outputs"],
        )?;
    }
    Ok(())
}

fn by_data_id(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[100..140];
    let ids: Vec<&str> = wines.iter().map(|wine| wine.id).collect();
    let answer = target.infer_json(&json!({"inputs": [data_ids(&ids)]}))?;
    same("by data_id", &answer["outputs"], &reference(target, wines)?)
}

fn layouts_of_data_ids(target: &Target<'_>) -> Result<()> {
    let expected = target
        .infer_json(&json!({"inputs": [data_ids(&["wine-0001", "wine-0002", "wine-0001"])]}))?;
    consistent(&expected, 3)?;
    let labels = output(&expected, "label")?["data"].clone();
    same("the same id twice", &labels[0], &labels[2])?;
    let layouts = [
        r#""shape": [3, 1], "data": ["wine-0001", "wine-0002", "wine-0001"]"#,
        r#""shape": [3, 1], "data": [["wine-0001"], ["wine-0002"], ["wine-0001"]]"#,
        r#""shape": [3], "data": ["\u0077ine-0001", "wine\u002d0002", "wine-0001"]"#,
    ];
    for layout in layouts {
        let body =
            format!(r#"{{"inputs": [{{"name": "data_id", "datatype": "BYTES", {layout}}}]}}"#);
        same(
            layout,
            &target.infer(body).send()?.json_ok()?["outputs"],
            &expected["outputs"],
        )?;
    }
    Ok(())
}

fn requested_outputs(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..2];
    let all = json!({"outputs": reference(target, wines)?});
    for asked in [
        vec!["confidence"],
        vec!["label", "probabilities"],
        vec!["probabilities", "confidence", "label"],
    ] {
        let outputs: Vec<_> = asked.iter().map(|name| json!({"name": name})).collect();
        let answer =
            target.infer_json(&json!({"inputs": [features(wines)], "outputs": outputs}))?;
        same(
            "how many outputs",
            &output_names(&answer).len(),
            &asked.len(),
        )?;
        for name in asked {
            same(name, output(&answer, name)?, output(&all, name)?)?;
        }
    }
    // `error` is an output, but there is none.
    let body =
        json!({"inputs": [features(wines)], "outputs": [{"name": "label"}, {"name": "error"}]});
    same(
        "outputs",
        &output_names(&target.infer_json(&body)?),
        &vec!["label"],
    )
}

fn tolerance(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..2];
    let expected = reference(target, wines)?;
    // The kserve client's body: a model's name, and null for what is not set.
    let mut input = features(wines);
    input["parameters"] = Value::Null;
    let body = json!({"id": "9a1e", "model_name": "wine_quality", "parameters": null, "outputs": null, "inputs": [input],
        "unknown": {"deep": [1, 2]}});
    same(
        "with extras",
        &target.infer_json(&body)?["outputs"],
        &expected,
    )?;
    let body = json!({"outputs": [], "inputs": [features(wines)]});
    same(
        "no outputs named",
        &target.infer_json(&body)?["outputs"],
        &expected,
    )?;
    let pretty = format!(
        "\n\t {}\r\n ",
        serde_json::to_string_pretty(&json!({"inputs": [features(wines)]}))?
    );
    for content_type in [
        "application/json",
        "application/octet-stream",
        "text/plain; charset=utf-8",
        "nonsense",
    ] {
        let reply = target
            .infer(pretty.clone())
            .header("content-type", content_type)
            .send()?;
        same(content_type, &reply.json_ok()?["outputs"], &expected)?;
    }
    Ok(())
}

fn versions(target: &Target<'_>) -> Result<()> {
    let body = json!({"inputs": [features(&wines()[..2])]}).to_string();
    let expected = target.infer(body.clone()).send()?.json_ok()?;
    let version = *target.expected.versions.last().context("a version")?;
    // tritonclient sends an empty version for none.
    for asked in [version, ""] {
        let path = format!("/v2/models/wine_quality/versions/{asked}/infer");
        let answer = target
            .call(http::Method::POST, path)
            .body(body.clone())
            .send()?
            .json_ok()?;
        same("outputs", &answer["outputs"], &expected["outputs"])?;
        same("model_version", &answer["model_version"], &json!(version))?;
    }
    Ok(())
}

fn judgement(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..1000];
    let answer = json!({"outputs": reference(target, wines)?});
    let labels = output(&answer, "label")?["data"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let right = wines
        .iter()
        .zip(&labels)
        .filter(|(wine, label)| (wine.quality >= 6) == (**label == "high"))
        .count();
    ensure!(
        (720..1000).contains(&right),
        "{right} of 1000 wines are judged right"
    );
    // The answer of a row does not depend on the other rows.
    let alone = json!({"outputs": reference(target, &wines[7..8])?});
    let (batch, alone) = (
        numbers(output(&answer, "probabilities")?)?,
        numbers(output(&alone, "probabilities")?)?,
    );
    let near = batch[14..16]
        .iter()
        .zip(&alone)
        .all(|(one, other)| (one - other).abs() < 1e-6);
    ensure!(near, "alone {alone:?}, in a batch {:?}", &batch[14..16]);
    Ok(())
}

fn timeout(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..1];
    // 0 is no timeout, as in Triton.
    for timeout in [json!(8_000_000), json!(u64::MAX), json!(0)] {
        let body = json!({"inputs": [features(wines)], "parameters": {"timeout": timeout, "custom": 1.5, "flag": true}});
        same(
            "outputs",
            &target.infer_json(&body)?["outputs"],
            &reference(target, wines)?,
        )?;
    }
    Ok(())
}

fn concurrency(target: &Target<'_>) -> Result<()> {
    const CALLERS: usize = 8;
    let wines = &wines()[400..400 + CALLERS];
    let expected = wines
        .iter()
        .map(|wine| target.infer_json(&json!({"inputs": [data_ids(&[wine.id])]})));
    let expected = expected.collect::<Result<Vec<_>>>()?;
    let ask = |at: usize| -> Result<()> {
        for _ in 0..5 {
            let id = format!("caller-{at}");
            let reply = target
                .infer(json!({"id": id, "inputs": [data_ids(&[wines[at].id])]}).to_string())
                .send()?;
            let answer = reply.json_ok()?;
            same("id", &answer["id"], &json!(id))?;
            same("outputs", &answer["outputs"], &expected[at]["outputs"])?;
            let span = answer["parameters"]["traceparent"]
                .as_str()
                .and_then(SpanRef::from_traceparent);
            same(
                "the trace of the prediction",
                &span.map(|span| span.trace_id.to_string()),
                &Some(reply.trace_id),
            )?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let ask = &ask;
        let callers: Vec<_> = (0..CALLERS)
            .map(|at| scope.spawn(move || ask(at)))
            .collect();
        callers
            .into_iter()
            .try_for_each(|caller| caller.join().expect("no caller panics"))
    })
}
