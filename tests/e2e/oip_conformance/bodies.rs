//! One list of JSON bodies, which both languages read in one way: what one takes, the other takes,
//! and what one refuses, the other refuses.
//!
//! In a body, `@` stands for a good input, `#` for its members without braces, and `~` for its data.
//! The list is about JSON (RFC 8259) and the form of a message; values that do not fit the model
//! are in `refusals`.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Case;
use super::target::{Target, output, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("one list of JSON bodies", bodies),
    ("nesting is bounded, also in what is skipped", nesting),
    ("numbers of any length", long_numbers),
    ("among whole numbers a zero may have a minus", minus_zero),
    ("the repository index reads its body in the same way", index),
];

const DATA: &str = "[7.4,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]";
const MEMBERS: &str = r#""name":"features","shape":[1,11],"datatype":"FP32""#;

/// Answered as the good input alone.
const TAKEN: &[&[u8]] = &[
    br#"{"inputs":[@]}"#,
    b" \t\r\n{ \"inputs\" : [ @ ] } \r\n\t ",
    br#"{"\u0069nputs":[@]}"#,
    br#"{"inputs":[{#,"data":~,"data_":1,"Data":2,"DATA":3}]}"#,
    br#"{"inputs":[{"name":"f\u0065atures","shape":[1,11],"datatype":"FP\u00332","data":~}]}"#,
    br#"{"inputs":[@],"id":null,"parameters":null,"outputs":null}"#,
    br#"{"inputs":[@],"parameters":{},"outputs":[]}"#,
    br#"{"inputs":[{#,"data":~,"parameters":null}]}"#,
    br#"{"inputs":[@],"id":""}"#,
    br#"{"inputs":[@],"id":"\u0000\ud83d\ude00\u007f\/\b\f\n\r\t\"\\"}"#,
    "{\"inputs\":[@],\"id\":\"\u{7f}\u{80}\u{2028}\u{feff}\u{10ffff}\"}".as_bytes(),
    // Unknown members are skipped, whatever they hold, if it is JSON.
    br#"{"inputs":[@],"unknown":{"a":[1,{"b":null}]}}"#,
    br#"{"inputs":[@],"unknown":1,"unknown":2}"#,
    br#"{"inputs":[@],"unknown":{"a":1,"a":2}}"#,
    br#"{"inputs":[@],"unknown":"\ud800"}"#,
    br#"{"inputs":[@],"unknown":{"\udfff":"\ud800\ud800"}}"#,
    br#"{"inputs":[@],"unknown":1e400}"#,
    br#"{"inputs":[@],"unknown":[-1e999999,1e-999999,0e0,-0,-0.0]}"#,
    br#"{"inputs":[@],"":1}"#,
    br#"{"inputs":[{#,"data":~,"unknown":1,"unknown":2}]}"#,
    br#"{"inputs":[@],"outputs":[{"name":"label","unknown":1,"unknown":2},{"name":"confidence"},{"name":"probabilities"}]}"#,
    br#"{"inputs":[@],"model_name":[],"model_version":{},"inputs_":[]}"#,
    // Parameters of other servers.
    br#"{"inputs":[@],"parameters":{"a":"b","c":1,"d":1.5,"e":true,"f":-1,"":""}}"#,
    br#"{"inputs":[@],"parameters":{"a":9223372036854775807,"b":18446744073709551615,"c":-9223372036854775808}}"#,
    br#"{"inputs":[@],"parameters":{"a":18446744073709551616,"b":-9223372036854775809,"c":100000000000000000000000000000000000000000}}"#,
    br#"{"inputs":[@],"parameters":{"a":1.7976931348623157e308,"b":1e-400,"c":-0.0,"d":0E+0,"e":1E2,"f":-0}}"#,
    br#"{"inputs":[@],"parameters":{"\ud83d\ude00":"\ud83d\ude00","a":"\u0000"}}"#,
    br#"{"inputs":[@],"parameters":{"a":1,"A":2," a":3}}"#,
    br#"{"inputs":[{#,"data":~,"parameters":{"a":1}}]}"#,
    // The same numbers, written in other ways.
    br#"{"inputs":[{#,"data":[74e-1,7E-1,0.0e+5,1.9,0.076,11.0,3.4e1,0.9978,3.51,0.56,9.40000]}]}"#,
    br#"{"inputs":[{#,"data":[7.4,0.7,-0,1.9,0.076,11,34,0.99780000000000000000000000000001,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[{#,"data":[[7.4,0.7,1e-999,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]]}]}"#,
];

/// Refused with 400 and `bad_request`.
const REFUSED: &[&[u8]] = &[
    // Members that are known, and given twice.
    br#"{"inputs":[@],"inputs":[@]}"#,
    br#"{"inputs":[],"inputs":[@]}"#,
    br#"{"inputs":[@],"\u0069nputs":[@]}"#,
    br#"{"inputs":[@],"id":"a","id":"a"}"#,
    br#"{"inputs":[@],"id":null,"id":"a"}"#,
    br#"{"inputs":[@],"parameters":{},"parameters":{}}"#,
    br#"{"inputs":[@],"outputs":[],"outputs":[]}"#,
    br#"{"inputs":[{#,"name":"features","data":~}]}"#,
    br#"{"inputs":[{#,"shape":[1,11],"data":~}]}"#,
    br#"{"inputs":[{#,"datatype":"FP32","data":~}]}"#,
    br#"{"inputs":[{#,"data":~,"data":~}]}"#,
    br#"{"inputs":[{#,"data":null,"data":~}]}"#,
    br#"{"inputs":[{#,"data":~,"parameters":{},"parameters":{}}]}"#,
    br#"{"inputs":[@],"outputs":[{"name":"label","name":"label"}]}"#,
    br#"{"inputs":[@],"outputs":[{"name":"label","parameters":{},"parameters":{}}]}"#,
    br#"{"inputs":[@],"parameters":{"a":1,"a":1}}"#,
    br#"{"inputs":[@],"parameters":{"a":1,"\u0061":2}}"#,
    br#"{"inputs":[@],"parameters":{"timeout":1,"timeout":5000000}}"#,
    br#"{"inputs":[{#,"data":~,"parameters":{"a":1,"a":1}}]}"#,
    br#"{"inputs":[@],"outputs":[{"name":"label","parameters":{"binary_data":true,"binary_data":false}}]}"#,
    // A minus makes a zero a fraction.
    br#"{"inputs":[@],"parameters":{"timeout":-0}}"#,
    br#"{"inputs":[{"name":"features","shape":[-0,11],"datatype":"FP32","data":~}]}"#,
    // Halves of surrogate pairs in what is read.
    br#"{"inputs":[@],"parameters":{"a":"\ud800"}}"#,
    br#"{"inputs":[@],"parameters":{"a":"\udc00\ud800"}}"#,
    br#"{"inputs":[@],"parameters":{"\ud800":1}}"#,
    br#"{"inputs":[{#,"data":~,"parameters":{"a":"x\udfffy"}}]}"#,
    br#"{"inputs":[@],"outputs":[{"name":"label","parameters":{"a":"\ud800"}}]}"#,
    br#"{"inputs":[@],"id":"\ud800"}"#,
    br#"{"inputs":[@],"id":"\ud800\u0041"}"#,
    br#"{"inputs":[@],"\ud800":1}"#,
    br#"{"inputs":[{#,"data":~,"\udc00":1}]}"#,
    br#"{"inputs":[{"name":"\ud800","shape":[1,11],"datatype":"FP32","data":~}]}"#,
    br#"{"inputs":[{"name":"data_id","shape":[1],"datatype":"BYTES","data":["\ud800"]}]}"#,
    // Numbers that no double holds.
    br#"{"inputs":[@],"parameters":{"a":1e400}}"#,
    br#"{"inputs":[@],"parameters":{"a":-1e309}}"#,
    br#"{"inputs":[{#,"data":~,"parameters":{"a":1e400}}]}"#,
    br#"{"inputs":[@],"outputs":[{"name":"label","parameters":{"a":1e400}}]}"#,
    br#"{"inputs":[{#,"data":[1e400,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[{"name":"features","shape":[1e0,11],"datatype":"FP32","data":~}]}"#,
    br#"{"inputs":[{"name":"features","shape":[1e400,11],"datatype":"FP32","data":~}]}"#,
    // What is no JSON.
    br#"{"inputs":[@],"unknown":NaN}"#,
    br#"{"inputs":[@],"unknown":-Infinity}"#,
    br#"{"inputs":[@],"parameters":{"a":NaN}}"#,
    br#"{"inputs":[@],"parameters":{"a":Infinity}}"#,
    br#"{"inputs":[{#,"data":[NaN,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[{#,"data":[Infinity,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[@],"unknown":01}"#,
    br#"{"inputs":[@],"unknown":1.}"#,
    br#"{"inputs":[@],"unknown":.5}"#,
    br#"{"inputs":[@],"unknown":+1}"#,
    br#"{"inputs":[@],"unknown":-}"#,
    br#"{"inputs":[@],"unknown":1e}"#,
    br#"{"inputs":[@],"unknown":0x10}"#,
    br#"{"inputs":[@],"unknown":1_000}"#,
    "{\"inputs\":[@],\"unknown\":\u{661}}".as_bytes(),
    br#"{"inputs":[{#,"data":[07.4,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[{#,"data":[7.,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[{#,"data":[+7.4,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[{#,"data":[7.4,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4,]}]}"#,
    br#"{"inputs":[{#,"data":[7.4 0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4]}]}"#,
    br#"{"inputs":[@],}"#,
    br#"{"inputs":[@,]}"#,
    br#"{"inputs":[@],"a"}"#,
    br#"{"inputs":[@] "a":1}"#,
    br"{'inputs':[@]}",
    br"{inputs:[@]}",
    br#"{"inputs":[@]/* */}"#,
    b"{\"inputs\":[@]}// \n",
    br#"{"inputs":[@]}{}"#,
    br#"{"inputs":[@]}]"#,
    br#"{"inputs":[@]} x"#,
    br#"{"inputs":[@]"#,
    b"{\"inputs\":[@]}\0",
    b"{\"inputs\":[@]}\x0b",
    b"\x0c{\"inputs\":[@]}",
    "{\"inputs\":[@]}\u{a0}".as_bytes(),
    b"\xef\xbb\xbf{\"inputs\":[@]}",
    b"{\"inputs\":[@],\"id\":\"a\nb\"}",
    b"{\"inputs\":[@],\"unknown\":\"a\tb\"}",
    b"{\"inputs\":[@],\"unknown\":\"\0\"}",
    b"{\"inputs\":[@],\"a\x1fb\":1}",
    br#"{"inputs":[@],"unknown":"\x41"}"#,
    br#"{"inputs":[@],"unknown":"\u12"}"#,
    br#"{"inputs":[@],"unknown":"\u+123"}"#,
    br#"{"inputs":[@],"unknown":True}"#,
    br#"{"inputs":[@],"unknown":nul}"#,
    br#"{"inputs":[@],"unknown":undefined}"#,
    // What is no UTF-8.
    b"{\"inputs\":[@],\"unknown\":\"\xff\"}",
    b"{\"inputs\":[@],\"id\":\"\xc3\"}",
    b"{\"inputs\":[@],\"unknown\":\"\xc0\x80\"}",
    b"{\"inputs\":[@],\"unknown\":\"\xed\xa0\x80\"}",
    b"{\"inputs\":[@],\"unknown\":\"\xf4\x90\x80\x80\"}",
    b"{\"inputs\":[@],\"\xfe\":1}",
    b"{\0\"\0i\0n\0p\0u\0t\0s\0\"\0:\0[\0]\0}\0",
    // Lists for objects, objects for lists and words, and other types.
    br"[[@]]",
    br"[null,null,[@],null]",
    br#"{"inputs":[["features",[1,11],"FP32",{},~]]}"#,
    br#"{"inputs":[["features",[1,11],"FP32",null,~]]}"#,
    br#"{"inputs":@}"#,
    br#"{"inputs":{"0":@}}"#,
    br#"{"inputs":[@],"outputs":[["label",{}]]}"#,
    br#"{"inputs":[@],"outputs":["label"]}"#,
    br#"{"inputs":[@],"outputs":{"name":"label"}}"#,
    br#"{"inputs":[@],"outputs":[null]}"#,
    br#"{"inputs":[@],"parameters":[]}"#,
    br#"{"inputs":[@],"parameters":[["a",1]]}"#,
    br#"{"inputs":[@],"parameters":"a"}"#,
    br#"{"inputs":[@],"parameters":{"a":null}}"#,
    br#"{"inputs":[@],"parameters":{"a":[]}}"#,
    br#"{"inputs":[@],"parameters":{"a":{}}}"#,
    br#"{"inputs":[@],"id":7}"#,
    br#"{"inputs":[@],"id":["a"]}"#,
    br#"{"inputs":[{"name":["features"],"shape":[1,11],"datatype":"FP32","data":~}]}"#,
    br#"{"inputs":[{"name":"features","shape":{"0":1,"1":11},"datatype":"FP32","data":~}]}"#,
    br#"{"inputs":[{"name":"features","shape":[1,11],"datatype":{"FP32":null},"data":~}]}"#,
    br#"{"inputs":[{"name":"features","shape":[1,11],"datatype":["FP32"],"data":~}]}"#,
    br#"{"inputs":[{"name":"features","shape":[1,11],"datatype":"FP32 ","data":~}]}"#,
    br#"{"inputs":[{#,"data":{"0":7.4}}]}"#,
    br#"{"inputs":[null,@]}"#,
    br#"{"Inputs":[@]}"#,
];

fn filled(template: &[u8]) -> Vec<u8> {
    let good = format!("{{{MEMBERS},\"data\":{DATA}}}");
    let mut body = Vec::new();
    for byte in template {
        match byte {
            b'@' => body.extend_from_slice(good.as_bytes()),
            b'#' => body.extend_from_slice(MEMBERS.as_bytes()),
            b'~' => body.extend_from_slice(DATA.as_bytes()),
            byte => body.push(*byte),
        }
    }
    body
}

/// What is wrong with the answer to a body, if something is.
fn wrong(target: &Target<'_>, body: Vec<u8>, expected: Option<&Value>) -> Result<Option<String>> {
    let name = String::from_utf8_lossy(&body[..body.len().min(160)]).into_owned();
    let reply = target.infer(body).send()?;
    let error = match expected {
        None => reply.refused(400, "bad_request").err(),
        Some(label) => reply
            .json_ok()
            .and_then(|answer| {
                let found = &output(&answer, "label")?["data"];
                ensure!(found == label, "{found}");
                ensure!(output(&answer, "error").is_err(), "{answer}");
                Ok(())
            })
            .err(),
    };
    Ok(error.map(|error| format!("{name}: {error:#}")))
}

fn label(target: &Target<'_>) -> Result<Value> {
    let answer = target.infer(filled(TAKEN[0])).send()?.json_ok()?;
    Ok(output(&answer, "label")?["data"].clone())
}

fn check(
    target: &Target<'_>,
    taken: impl IntoIterator<Item = Vec<u8>>,
    refused: impl IntoIterator<Item = Vec<u8>>,
) -> Result<()> {
    let label = label(target)?;
    let mut failures = Vec::new();
    for body in taken {
        failures.extend(wrong(target, body, Some(&label))?);
    }
    for body in refused {
        failures.extend(wrong(target, body, None)?);
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n    "));
    Ok(())
}

fn bodies(target: &Target<'_>) -> Result<()> {
    let fill = |templates: &[&[u8]]| -> Vec<_> {
        templates.iter().map(|template| filled(template)).collect()
    };
    check(target, fill(TAKEN), fill(REFUSED))
}

fn nesting(target: &Target<'_>) -> Result<()> {
    let with = |unknown: String| {
        let mut body = filled(b"{\"inputs\":[@],\"unknown\":");
        body.extend_from_slice(unknown.as_bytes());
        body.push(b'}');
        body
    };
    let lists = |depth: usize| with(format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let objects = |depth: usize| with(format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
    // The message itself is one level.
    let taken = [
        lists(126),
        objects(126),
        // Brackets in strings, and many beside each other.
        with(format!("\"\\\"{}\"", "[{".repeat(500))),
        with(format!("[{}[]]", "[{}],".repeat(500))),
    ];
    let refused =
        [127, 128, 500, 1_000, 5_000, 100_000].map(|depth| [lists(depth), objects(depth)]);
    check(target, taken, refused.into_iter().flatten())
}

fn long_numbers(target: &Target<'_>) -> Result<()> {
    let nines = "9".repeat(5_000);
    let body = |template: &str| filled(template.replace('N', &nines).as_bytes());
    let taken = [
        body(r#"{"inputs":[@],"unknown":N}"#),
        body(r#"{"inputs":[@],"unknown":-0.N}"#),
        body(r#"{"inputs":[@],"parameters":{"a":0.N}}"#),
    ];
    let refused = [
        body(r#"{"inputs":[@],"parameters":{"a":N}}"#),
        body(r#"{"inputs":[@],"parameters":{"a":-N}}"#),
        body(r#"{"inputs":[@],"parameters":{"a":N.5}}"#),
        body(r#"{"inputs":[@],"parameters":{"a":1eN}}"#),
    ];
    check(target, taken, refused)
}

fn minus_zero(target: &Target<'_>) -> Result<()> {
    let outputs = |datatype: &str, zero: &str| -> Result<Value> {
        let input = format!(
            r#"{{"name":"features","shape":[1,11],"datatype":"{datatype}","data":[7,1,{zero},2,0,11,34,1,4,1,9]}}"#
        );
        let reply = target.infer(format!(r#"{{"inputs":[{input}]}}"#)).send()?;
        Ok(reply.json_ok()?["outputs"].clone())
    };
    for datatype in ["INT64", "INT32", "FP32", "FP64"] {
        same(
            datatype,
            &outputs(datatype, "-0")?,
            &outputs(datatype, "0")?,
        )?;
    }
    ensure!(outputs("INT64", "-0.0").is_err(), "a fraction");
    Ok(())
}

fn index(target: &Target<'_>) -> Result<()> {
    let ask = |body: &'static [u8]| {
        let call = target.call(http::Method::POST, "/v2/repository/index");
        call.body(body).send()
    };
    for body in [&b""[..], b"{}", b"{\"ready\":true}", b" {\"a\":1,\"a\":2} "] {
        ask(body)?.json_ok()?;
    }
    let refused = [
        &b"[]"[..],
        b"[true]",
        b"{\"ready\":1}",
        b"{\"ready\":true,\"ready\":true}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\xff\"}",
        b"{} {}",
    ];
    for body in refused {
        ask(body)?.refused(400, "bad_request")?;
    }
    Ok(())
}
