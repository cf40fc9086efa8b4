//! Bodies of real clients, and one wrong body for each error.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::ErrorCode;

fn decode(body: &str) -> Result<InferRequest, DecodeError> {
    InferRequest::decode(&Bytes::copy_from_slice(body.as_bytes()), None)
}

/// A request with one input, named `x`, with these further members.
fn one_input(members: &str) -> Result<InferRequest, DecodeError> {
    decode(&format!(r#"{{"inputs":[{{"name":"x",{members}}}]}}"#))
}

fn data_of(members: &str) -> TensorData {
    one_input(members).unwrap().inputs.remove(0).tensor.data
}

#[test]
fn reads_the_body_of_the_kserve_client() {
    let request = decode(
        r#"{"id":"r-1","model_name":"churn","parameters":{"variant":"canary","timeout":500000},
            "inputs":[{"name":"features","shape":[2,2],"datatype":"FP32","data":[1,2,3,4.5],"parameters":null}],
            "outputs":[{"name":"score","parameters":{"binary_data":false}}]}"#,
    )
    .unwrap();
    assert_eq!(request.id.as_deref(), Some("r-1"));
    assert_eq!(request.parameters.get_str("variant"), Some("canary"));
    assert_eq!(request.timeout().unwrap(), Some(Duration::from_millis(500)));
    let expected = Tensor::from_fp32("features", vec![2, 2], vec![1.0, 2.0, 3.0, 4.5]).unwrap();
    assert_eq!(request.inputs, [InferInput::from(expected)]);
    assert!(request.wants_output("score") && !request.wants_output("label"));
}

#[test]
fn reads_the_binary_body_of_tritonclient() {
    let head = r#"{"id":"req-1","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}],"parameters":{"binary_data_output":true}}"#;
    let mut body = head.as_bytes().to_vec();
    body.extend(
        [1.0_f32, -2.0, 0.5, 1e30]
            .iter()
            .flat_map(|x| x.to_le_bytes()),
    );
    let request = InferRequest::decode(&Bytes::from(body), Some(head.len())).unwrap();
    assert_eq!(
        request.input("x").unwrap().as_fp32().unwrap(),
        [1.0, -2.0, 0.5, 1e30]
    );
    assert!(
        request.inputs[0].parameters.is_empty(),
        "binary_data_size is part of the encoding"
    );
    assert_eq!(request.output_format("anything"), TensorFormat::Binary);
}

#[test]
fn reads_every_datatype_from_json() {
    let shape = r#""shape":[2],"datatype""#;
    assert_eq!(
        data_of(&format!(r#"{shape}:"BOOL","data":[true,false]"#)),
        TensorData::Bool(vec![true, false])
    );
    assert_eq!(
        data_of(&format!(r#"{shape}:"UINT8","data":[0,255]"#)),
        TensorData::Uint8(vec![0, 255])
    );
    assert_eq!(
        data_of(&format!(r#"{shape}:"INT8","data":[-128,127]"#)),
        TensorData::Int8(vec![-128, 127])
    );
    assert_eq!(
        data_of(&format!(r#"{shape}:"UINT16","data":[0,65535]"#)),
        TensorData::Uint16(vec![0, 65535])
    );
    assert_eq!(
        data_of(&format!(r#"{shape}:"INT16","data":[-5,5]"#)),
        TensorData::Int16(vec![-5, 5])
    );
    assert_eq!(
        data_of(&format!(r#"{shape}:"UINT32","data":[1,4294967295]"#)),
        TensorData::Uint32(vec![1, u32::MAX])
    );
    assert_eq!(
        data_of(&format!(r#"{shape}:"INT32","data":[-1,1]"#)),
        TensorData::Int32(vec![-1, 1])
    );
    let max = u64::MAX;
    assert_eq!(
        data_of(&format!(r#"{shape}:"UINT64","data":[1,{max}]"#)),
        TensorData::Uint64(vec![1, max])
    );
    let min = i64::MIN;
    assert_eq!(
        data_of(&format!(r#"{shape}:"INT64","data":[{min},1]"#)),
        TensorData::Int64(vec![min, 1])
    );
    assert_eq!(
        data_of(&format!(r#"{shape}:"FP64","data":[0.1,-1e-7]"#)),
        TensorData::Fp64(vec![0.1, -1e-7])
    );
    let texts = TensorData::Bytes(vec![Bytes::from("a]\"é\n"), Bytes::from("[1,2]")]);
    assert_eq!(
        data_of(&format!(
            r#"{shape}:"BYTES","data":["a]\"\u00e9\n","[1,2]"]"#
        )),
        texts
    );
}

#[test]
fn reads_flat_and_nested_data_alike() {
    let flat = data_of(r#""shape":[2,1,3],"datatype":"INT32","data":[1,2,3,4,5,6]"#);
    let nested = data_of(r#""shape":[2,1,3],"datatype":"INT32","data":[ [[1,2,3]], [[4 , 5,6]] ]"#);
    assert_eq!(flat, TensorData::Int32(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(nested, flat);
    assert_eq!(
        data_of(r#""shape":[2,0],"datatype":"INT32","data":[[],[]]"#),
        TensorData::Int32(vec![])
    );
    assert_eq!(
        data_of(r#""shape":[0,3],"datatype":"INT32","data":[]"#),
        TensorData::Int32(vec![])
    );
}

#[test]
fn refuses_nesting_that_does_not_fit_the_shape() {
    for data in [
        "[[1,2,3],[4]]",
        "[[1,2],3,4]",
        "[1,[2,3],4]",
        "[[[1,2],[3,4]]]",
        "[[1,2,3,4]]",
        "1",
        "\"text\"",
        "{}",
    ] {
        let error = one_input(&format!(
            r#""shape":[2,2],"datatype":"INT32","data":{data}"#
        ))
        .unwrap_err();
        assert!(
            matches!(error, DecodeError::Nesting { .. }),
            "{data}: {error}"
        );
    }
    let error = one_input(r#""shape":[1],"datatype":"INT32","data":[[1]]"#).unwrap_err();
    assert!(matches!(error, DecodeError::Nesting { .. }), "{error}");
    // Every level of the deepest shape, and one more.
    let nested = |depth: usize| {
        let (shape, open, close) = (
            vec!["1"; 16].join(","),
            "[".repeat(depth),
            "]".repeat(depth),
        );
        one_input(&format!(
            r#""shape":[{shape}],"datatype":"INT32","data":{open}7{close}"#
        ))
    };
    assert!(nested(16).is_ok());
    let error = nested(17).unwrap_err();
    assert!(matches!(error, DecodeError::Nesting { .. }), "{error}");
}

#[test]
fn refuses_elements_of_another_type() {
    for (datatype, data) in [
        ("BOOL", "1"),
        ("UINT8", "256"),
        ("UINT8", "-1"),
        ("INT32", "1.0"),
        ("INT64", "9223372036854775808"),
        ("FP32", "1e39"),
        ("FP64", "1e400"),
        ("FP32", "\"1\""),
        ("FP32", "null"),
        ("FP32", "{\"a\":1}"),
        ("BYTES", "1"),
        ("BYTES", "\"\\ud800\""),
    ] {
        let first = if datatype == "BYTES" { "\"\"" } else { "0" };
        let first = if datatype == "BOOL" { "true" } else { first };
        let members = format!(r#""shape":[2],"datatype":"{datatype}","data":[{first},{data}]"#);
        let error = one_input(&members).unwrap_err();
        assert!(
            matches!(error, DecodeError::Element { index: 1, .. }),
            "{datatype} {data}: {error}"
        );
    }
}

#[test]
fn refuses_shapes_that_do_not_fit_the_data() {
    let count = one_input(r#""shape":[3],"datatype":"FP32","data":[1,2]"#).unwrap_err();
    assert!(
        matches!(
            count,
            DecodeError::ElementCount {
                expected: 3,
                found: 2,
                ..
            }
        ),
        "{count}"
    );
    let huge =
        one_input(r#""shape":[4611686018427387904,8],"datatype":"FP32","data":[1]"#).unwrap_err();
    assert!(matches!(huge, DecodeError::Shape { .. }), "{huge}");
    // This one does not overflow; it must fail without reserving what it claims.
    let claim =
        one_input(r#""shape":[4611686018427387904],"datatype":"INT8","data":[1]"#).unwrap_err();
    assert!(
        matches!(claim, DecodeError::ElementCount { found: 1, .. }),
        "{claim}"
    );
    let negative = one_input(r#""shape":[-1],"datatype":"FP32","data":[1]"#).unwrap_err();
    assert!(matches!(negative, DecodeError::Json(_)), "{negative}");
    let deep = format!(
        r#""shape":[{}1],"datatype":"FP32","data":[1]"#,
        "1,".repeat(16)
    );
    assert!(matches!(
        one_input(&deep).unwrap_err(),
        DecodeError::Shape { .. }
    ));
}

#[test]
fn refuses_wrong_binary_lengths() {
    let binary = |shape: &str, datatype: &str, size: &str, tail: &[u8]| {
        let head = format!(
            r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","parameters":{{"binary_data_size":{size}}}}}]}}"#
        );
        let body = [head.as_bytes(), tail].concat();
        InferRequest::decode(&Bytes::from(body), Some(head.len())).unwrap_err()
    };
    assert!(matches!(
        binary("[2]", "FP32", "8", &[0; 7]),
        DecodeError::Truncated { .. }
    ));
    assert!(matches!(
        binary("[2]", "FP32", "8", &[0; 9]),
        DecodeError::LeftOver { bytes: 1 }
    ));
    assert!(matches!(
        binary("[2]", "FP32", "4", &[0; 4]),
        DecodeError::ByteCount {
            expected: 8,
            found: 4,
            ..
        }
    ));
    assert!(matches!(
        binary("[2305843009213693952]", "FP64", "8", &[0; 8]),
        DecodeError::Shape { .. }
    ));
    assert!(matches!(
        binary("[1]", "FP32", "-4", &[0; 4]),
        DecodeError::BinarySize { .. }
    ));
    assert!(matches!(
        binary("[1]", "FP32", "\"4\"", &[0; 4]),
        DecodeError::BinarySize { .. }
    ));
    assert!(matches!(
        binary("[1]", "BOOL", "1", &[2]),
        DecodeError::Element { index: 0, .. }
    ));
    assert!(matches!(
        binary("[1]", "BYTES", "4", &[1, 0, 0, 0]),
        DecodeError::Truncated { .. }
    ));
    assert!(matches!(
        binary("[1]", "BYTES", "4", &[255; 4]),
        DecodeError::Truncated { .. }
    ));
    assert!(matches!(
        binary("[1]", "BYTES", "3", &[0; 3]),
        DecodeError::Truncated { .. }
    ));
    assert!(matches!(
        binary("[9]", "BYTES", "4", &[0; 4]),
        DecodeError::ElementCount {
            expected: 9,
            found: 1,
            ..
        }
    ));
}

#[test]
fn refuses_messages_that_contradict_themselves() {
    let both = one_input(
        r#""shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}"#,
    )
    .unwrap_err();
    assert!(matches!(both, DecodeError::TwoForms { .. }), "{both}");
    let none = one_input(r#""shape":[1],"datatype":"FP32","data":null"#).unwrap_err();
    assert!(matches!(none, DecodeError::NoData { .. }), "{none}");
    let half = one_input(r#""shape":[1],"datatype":"FP16","data":[1]"#).unwrap_err();
    assert!(
        matches!(
            half,
            DecodeError::BinaryOnly {
                datatype: Datatype::Fp16,
                ..
            }
        ),
        "{half}"
    );
    let x = r#"{"name":"x","shape":[1],"datatype":"FP32","data":[1]}"#;
    let twice = decode(&format!(r#"{{"inputs":[{x},{x}]}}"#)).unwrap_err();
    assert!(matches!(twice, DecodeError::Duplicate { .. }), "{twice}");
    let object = decode(r#"{"parameters":{"a":[1]},"inputs":[]}"#).unwrap_err();
    assert!(matches!(object, DecodeError::Json(_)), "{object}");
    let body = Bytes::from_static(b"{}");
    let long = InferRequest::decode(&body, Some(3)).unwrap_err();
    assert!(
        matches!(long, DecodeError::HeaderLength { header: 3, body: 2 }),
        "{long}"
    );
    assert!(matches!(
        InferRequest::decode(&body, Some(0)).unwrap_err(),
        DecodeError::RawRequest
    ));
}

#[test]
fn reads_raw_requests_with_the_metadata() {
    let of = |datatype, shape: &[i64]| TensorMetadata {
        name: "x".into(),
        datatype,
        shape: shape.to_vec(),
    };
    let eight = Bytes::from(vec![0_u8; 32]);
    let request = InferRequest::from_raw(&eight, &of(Datatype::Fp32, &[-1, 4])).unwrap();
    assert_eq!(request.inputs[0].tensor.shape, [2, 4]);
    assert_eq!(request.output_format("y"), TensorFormat::Binary);
    let text = InferRequest::from_raw(&Bytes::from("raw"), &of(Datatype::Bytes, &[-1])).unwrap();
    assert_eq!(text.inputs[0].tensor, Tensor::from_texts("x", ["raw"]));
    let odd = InferRequest::from_raw(&eight, &of(Datatype::Fp32, &[-1, 3])).unwrap_err();
    assert!(
        matches!(
            odd,
            DecodeError::ByteCount {
                expected: 24,
                found: 32,
                ..
            }
        ),
        "{odd}"
    );
    let two = InferRequest::from_raw(&eight, &of(Datatype::Fp32, &[-1, -1])).unwrap_err();
    assert!(matches!(two, DecodeError::Shape { .. }), "{two}");
    let zero = InferRequest::from_raw(&eight, &of(Datatype::Fp32, &[-1, 0])).unwrap_err();
    assert!(matches!(zero, DecodeError::Shape { .. }), "{zero}");
}

#[test]
fn reads_the_header_length() {
    assert_eq!(parse_header_length(b"148").unwrap(), 148);
    for wrong in [
        &b"-1"[..],
        b"+1",
        b"",
        b"1.0",
        b"0x10",
        b"99999999999999999999",
        b"\xff",
    ] {
        assert!(
            matches!(parse_header_length(wrong), Err(DecodeError::HeaderValue)),
            "{wrong:?}"
        );
    }
}

fn two_outputs() -> InferResponse {
    let outputs = vec![
        InferOutput::from(Tensor::from_fp32("score", vec![2, 1], vec![0.25, 0.75]).unwrap()),
        InferOutput::from(Tensor::from_texts("label", ["no", "yes"])),
    ];
    let parameters = [("variant", "canary")].into_iter().collect();
    let (model_version, id) = (Some("2".to_owned()), Some("r-1".to_owned()));
    InferResponse {
        model_name: "churn".to_owned(),
        model_version,
        id,
        parameters,
        outputs,
    }
}

#[test]
fn writes_the_json_response_of_the_protocol_page() {
    let encoded = two_outputs().encode_for(&InferRequest::default()).unwrap();
    assert_eq!(
        (encoded.header_length, encoded.content_type()),
        (None, "application/json")
    );
    let body: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
    let expected = json!({"model_name":"churn","model_version":"2","id":"r-1","parameters":{"variant":"canary"},
        "outputs":[{"name":"score","shape":[2,1],"datatype":"FP32","data":[0.25,0.75]},
                   {"name":"label","shape":[2],"datatype":"BYTES","data":["no","yes"]}]});
    assert_eq!(body, expected);
}

#[test]
fn writes_each_output_in_its_requested_form() {
    let request = decode(
        r#"{"inputs":[],"parameters":{"binary_data_output":true},
            "outputs":[{"name":"label"},{"name":"score","parameters":{"binary_data":false}}]}"#,
    )
    .unwrap();
    let encoded = two_outputs().encode_for(&request).unwrap();
    let head = encoded.header_length.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&encoded.body[..head]).unwrap();
    let outputs = json!([{"name":"score","shape":[2,1],"datatype":"FP32","data":[0.25,0.75]},
        {"name":"label","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":13}}]);
    assert_eq!(json["outputs"], outputs);
    assert_eq!(&encoded.body[head..], b"\x02\0\0\0no\x03\0\0\0yes");
    assert_eq!(encoded.content_type(), "application/octet-stream");
}

#[test]
fn omits_outputs_that_were_not_requested() {
    let request = decode(r#"{"inputs":[],"outputs":[{"name":"label"}]}"#).unwrap();
    let encoded = two_outputs().encode_for(&request).unwrap();
    let back = InferResponse::decode(&encoded.body, encoded.header_length).unwrap();
    assert!(back.output("label").is_some() && back.output("score").is_none());
    assert!(request.check_outputs(&["score", "label"]).is_ok());
    let unknown = request.check_outputs(&["score"]).unwrap_err();
    assert!(
        matches!(&unknown, DecodeError::UnknownOutput { output } if output == "label"),
        "{unknown}"
    );
    let form = r#"{"inputs":[],"outputs":[{"name":"label","parameters":{"classification":2}}]}"#;
    let refused = decode(form).unwrap().check_outputs(&["label"]).unwrap_err();
    assert!(matches!(refused, DecodeError::Classification), "{refused}");
}

#[test]
fn refuses_to_write_values_without_a_json_form() {
    let refused = |data, count| {
        let tensor = Tensor {
            name: "x".into(),
            shape: vec![count],
            data,
        };
        let response = InferResponse {
            outputs: vec![tensor.into()],
            ..InferResponse::default()
        };
        assert_eq!(response.encode(TensorFormat::Binary).is_ok(), count < 9);
        response.encode(TensorFormat::Json).unwrap_err()
    };
    let nan = refused(TensorData::Fp32(vec![0.0, f32::NAN]), 2);
    assert!(
        matches!(nan, EncodeError::NotFinite { index: 1, .. }),
        "{nan}"
    );
    let infinite = refused(TensorData::Fp64(vec![f64::INFINITY]), 1);
    assert!(
        matches!(infinite, EncodeError::NotFinite { index: 0, .. }),
        "{infinite}"
    );
    let bytes = refused(TensorData::Bytes(vec![Bytes::from_static(b"\xff")]), 1);
    assert!(
        matches!(bytes, EncodeError::NotText { index: 0, .. }),
        "{bytes}"
    );
    let half = refused(TensorData::Bf16(vec![half::bf16::ONE]), 1);
    assert!(
        matches!(
            half,
            EncodeError::BinaryOnly {
                datatype: Datatype::Bf16,
                ..
            }
        ),
        "{half}"
    );
    assert!(matches!(
        refused(TensorData::Uint8(vec![1]), 9),
        EncodeError::Shape { .. }
    ));
}

#[test]
fn timeouts_are_whole_microseconds() {
    let mut request = InferRequest::default();
    assert_eq!(request.timeout().unwrap(), None);
    request.set_timeout(Duration::from_nanos(1_500_999));
    assert_eq!(
        request.timeout().unwrap(),
        Some(Duration::from_micros(1_500))
    );
    request.set_timeout(Duration::ZERO);
    assert_eq!(request.timeout().unwrap(), Some(Duration::from_micros(1)));
    request.parameters.insert("timeout", 0_i64);
    assert_eq!(request.timeout().unwrap(), None, "as in Triton");
    for wrong in [
        Parameter::from(-1_i64),
        Parameter::from(1.5),
        Parameter::from("5"),
    ] {
        request.parameters.insert("timeout", wrong.clone());
        assert!(
            matches!(
                request.timeout(),
                Err(DecodeError::Parameter { name: "timeout" })
            ),
            "{wrong:?}"
        );
    }
}

#[test]
fn bodies_of_the_reads() {
    let text = |value: &dyn erased::Json| value.text();
    assert_eq!(text(&Live { live: true }), r#"{"live":true}"#);
    assert_eq!(
        text(&Ready {
            ready: true,
            live: true
        }),
        r#"{"ready":true,"live":true}"#
    );
    let extensions = vec!["binary_tensor_data".to_owned()];
    let server = ServerMetadata {
        name: "s".to_owned(),
        version: "0.1.0".to_owned(),
        extensions,
    };
    assert_eq!(
        text(&server),
        r#"{"name":"s","version":"0.1.0","extensions":["binary_tensor_data"]}"#
    );
    let tensor = TensorMetadata {
        name: "features".to_owned(),
        datatype: Datatype::Fp32,
        shape: vec![-1, 8],
    };
    assert_eq!(
        text(&tensor),
        r#"{"name":"features","datatype":"FP32","shape":[-1,8]}"#
    );
    assert_eq!(
        text(&ModelReady {
            name: "m".to_owned(),
            ready: true
        }),
        r#"{"name":"m","ready":true}"#
    );
}

#[test]
fn error_bodies() {
    let body = ErrorBody::new("the model is unknown", ErrorCode::UnknownModel);
    let json: serde_json::Value = serde_json::from_slice(&body.to_json()).unwrap();
    assert_eq!(
        json,
        json!({"error": "the model is unknown", "code": "unknown_model"})
    );
    assert_eq!(body.known_code(), Some(ErrorCode::UnknownModel));
    let foreign: ErrorBody = serde_json::from_str(r#"{"error":"x"}"#).unwrap();
    assert_eq!(
        foreign,
        ErrorBody {
            error: "x".to_owned(),
            code: None,
            trace_id: None
        }
    );
    let foreign: ErrorBody = serde_json::from_str(r#"{"error":"x","code":"y"}"#).unwrap();
    assert_eq!(foreign.code.as_deref(), Some("y"));
    assert_eq!(foreign.known_code(), None);
}

/// So one closure can print bodies of several types.
mod erased {
    pub(super) trait Json {
        fn text(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn text(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}

/// The data of the one output of an answer with these further members.
fn answered(members: &str) -> Result<TensorData, DecodeError> {
    let body = format!(r#"{{"model_name":"NaN","outputs":[{{"name":"x",{members}}}]}}"#);
    let response = InferResponse::decode(&Bytes::from(body), None)?;
    assert_eq!(response.model_name, "NaN", "a text stays as it is");
    Ok(response.outputs.into_iter().next().unwrap().tensor.data)
}

#[test]
fn an_element_of_an_answer_that_is_no_value_takes_no_other_with_it() {
    let floats = |shape: &str, data: &str| {
        let members = format!(r#""shape":{shape},"datatype":"FP32","data":{data}"#);
        match answered(&members) {
            Ok(TensorData::Fp32(data)) => format!("{data:?}"),
            other => format!("{other:?}"),
        }
    };
    for (shape, data, expected) in [
        ("[3]", "[0.5, null, 1]", "[0.5, NaN, 1.0]"),
        ("[3]", "[0.5,NaN,1]", "[0.5, NaN, 1.0]"),
        ("[3]", "[-Infinity, Infinity, 1]", "[NaN, NaN, 1.0]"),
        ("[2]", "[1e400, 1]", "[inf, 1.0]"),
        ("[2]", r#"["NaN", {"a":[1,2]}]"#, "[NaN, NaN]"),
        ("[2,2]", "[0.5,null,1,2]", "[0.5, NaN, 1.0, 2.0]"),
        (
            "[3,2]",
            "[[1,2],[3],[5,6]]",
            "[1.0, 2.0, NaN, NaN, 5.0, 6.0]",
        ),
        (
            "[3,2]",
            "[[1,2],[3,4,9],[5,6]]",
            "[1.0, 2.0, NaN, NaN, 5.0, 6.0]",
        ),
        (
            "[3,2]",
            "[[1,2],null,[5,6]]",
            "[1.0, 2.0, NaN, NaN, 5.0, 6.0]",
        ),
        ("[2,2]", "[[1,NaN],[5,6]]", "[NaN, NaN, 5.0, 6.0]"),
    ] {
        assert_eq!(floats(shape, data), expected, "{data}");
    }
    let texts = answered(r#""shape":[3],"datatype":"BYTES","data":["a",null,"\ud800"]"#).unwrap();
    let expected = TensorData::Bytes(vec!["a".into(), Bytes::new(), Bytes::new()]);
    assert_eq!(texts, expected);
}

#[test]
fn an_answer_of_which_nobody_knows_what_is_missing_is_refused() {
    for members in [
        r#""shape":[3],"datatype":"FP32","data":[1,2]"#,
        r#""shape":[2,2],"datatype":"FP32","data":[[1,2]]"#,
        r#""shape":[2,1000000000000],"datatype":"FP32","data":[[1],[2]]"#,
        r#""shape":[],"datatype":"FP32","data":null"#,
        r#""shape":[2],"datatype":"INT64","data":[1,null]"#,
        r#""shape":[2],"datatype":"FP32","data":[1,nan]"#,
    ] {
        assert!(answered(members).is_err(), "{members}");
    }
    // A request has to be right as a whole.
    assert!(one_input(r#""shape":[2],"datatype":"FP32","data":[1,null]"#).is_err());
    assert!(one_input(r#""shape":[2],"datatype":"FP32","data":[1,NaN]"#).is_err());
}
