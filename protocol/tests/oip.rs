//! Properties of tensors on the wire: a round trip returns the same tensor, and no bytes make the
//! reader panic.

use bytes::Bytes;
use half::{bf16, f16};
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::oip::{
    DecodeError, InferOutput, InferRequest, InferResponse, Tensor, TensorData, TensorFormat,
};

/// Data of `count` elements with a JSON and a binary form.
fn data(count: usize) -> BoxedStrategy<TensorData> {
    let finite32 = any::<f32>().prop_filter("JSON has finite numbers only", |x| x.is_finite());
    let finite64 = any::<f64>().prop_filter("JSON has finite numbers only", |x| x.is_finite());
    prop_oneof![
        vec(any::<bool>(), count).prop_map(TensorData::Bool),
        vec(any::<u8>(), count).prop_map(TensorData::Uint8),
        vec(any::<u16>(), count).prop_map(TensorData::Uint16),
        vec(any::<u32>(), count).prop_map(TensorData::Uint32),
        vec(any::<u64>(), count).prop_map(TensorData::Uint64),
        vec(any::<i8>(), count).prop_map(TensorData::Int8),
        vec(any::<i16>(), count).prop_map(TensorData::Int16),
        vec(any::<i32>(), count).prop_map(TensorData::Int32),
        vec(any::<i64>(), count).prop_map(TensorData::Int64),
        vec(finite32, count).prop_map(TensorData::Fp32),
        vec(finite64, count).prop_map(TensorData::Fp64),
        vec(any::<String>().prop_map(Bytes::from), count).prop_map(TensorData::Bytes),
    ]
    .boxed()
}

/// Data with a binary form only.
fn binary_data(count: usize) -> BoxedStrategy<TensorData> {
    prop_oneof![
        data(count),
        vec(any::<u16>().prop_map(f16::from_bits), count).prop_map(TensorData::Fp16),
        vec(any::<u16>().prop_map(bf16::from_bits), count).prop_map(TensorData::Bf16),
        vec(any::<u32>().prop_map(f32::from_bits), count).prop_map(TensorData::Fp32),
        vec(vec(any::<u8>(), 0..9).prop_map(Bytes::from), count).prop_map(TensorData::Bytes),
    ]
    .boxed()
}

fn tensors(data: fn(usize) -> BoxedStrategy<TensorData>) -> impl Strategy<Value = Vec<Tensor>> {
    let tensor = vec(0_usize..4, 0..4).prop_flat_map(move |shape| {
        let count = shape.iter().product();
        (Just(shape), data(count))
    });
    vec(tensor, 0..4).prop_map(|tensors| {
        let named = tensors.into_iter().enumerate();
        named
            .map(|(at, (shape, data))| Tensor {
                name: format!("t{at}").into(),
                shape,
                data,
            })
            .collect()
    })
}

/// The bits, because a NaN must keep its payload.
fn bits(tensor: &Tensor) -> (String, Vec<usize>, String) {
    let data = match &tensor.data {
        TensorData::Fp16(data) => {
            format!("{:?}", data.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        }
        TensorData::Bf16(data) => {
            format!("{:?}", data.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        }
        TensorData::Fp32(data) => {
            format!("{:?}", data.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        }
        TensorData::Fp64(data) => {
            format!("{:?}", data.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        }
        data => format!("{data:?}"),
    };
    (
        tensor.name.to_string(),
        tensor.shape.clone(),
        format!("{} {data}", tensor.datatype()),
    )
}

fn check_round_trip(tensors: Vec<Tensor>, format: TensorFormat) {
    let expected: Vec<_> = tensors.iter().map(bits).collect();
    let mut request = InferRequest::new(tensors);
    request.id = Some("an id".to_owned());
    request.parameters.insert("timeout", 500_000_i64);
    let encoded = request.encode(format).expect("the data have this form");
    assert_eq!(
        encoded.header_length.is_some(),
        format == TensorFormat::Binary && !expected.is_empty()
    );
    let back =
        InferRequest::decode(&encoded.body, encoded.header_length).expect("it was written so");
    assert_eq!(
        back.inputs
            .iter()
            .map(|input| bits(&input.tensor))
            .collect::<Vec<_>>(),
        expected
    );
    assert_eq!(
        (&back.id, &back.parameters),
        (&request.id, &request.parameters)
    );

    let outputs = request
        .inputs
        .into_iter()
        .map(|input| InferOutput::from(input.tensor))
        .collect();
    let response = InferResponse {
        model_name: "m".to_owned(),
        outputs,
        ..InferResponse::default()
    };
    let encoded = response.encode(format).expect("the data have this form");
    let back =
        InferResponse::decode(&encoded.body, encoded.header_length).expect("it was written so");
    assert_eq!(
        back.outputs
            .iter()
            .map(|output| bits(&output.tensor))
            .collect::<Vec<_>>(),
        expected
    );
}

/// Writes data as lists nested like the shape.
fn nested(flat: &[serde_json::Value], shape: &[usize]) -> serde_json::Value {
    match shape {
        [] | [_] => flat.into(),
        [first, rest @ ..] => {
            let size: usize = rest.iter().product();
            (0..*first)
                .map(|at| nested(&flat[at * size..(at + 1) * size], rest))
                .collect()
        }
    }
}

proptest! {
    #[test]
    fn json_round_trip(tensors in tensors(data)) {
        check_round_trip(tensors, TensorFormat::Json);
    }

    #[test]
    fn binary_round_trip(tensors in tensors(binary_data)) {
        check_round_trip(tensors, TensorFormat::Binary);
    }

    #[test]
    fn nested_lists_read_like_flat_ones(tensors in tensors(data)) {
        let request = InferRequest::new(tensors);
        let flat = request.encode(TensorFormat::Json).unwrap().body;
        let mut body: serde_json::Value = serde_json::from_slice(&flat).unwrap();
        for input in body["inputs"].as_array_mut().unwrap() {
            let shape: Vec<usize> = serde_json::from_value(input["shape"].clone()).unwrap();
            input["data"] = nested(input["data"].as_array().unwrap(), &shape);
        }
        let body = Bytes::from(serde_json::to_vec_pretty(&body).unwrap());
        prop_assert_eq!(InferRequest::decode(&body, None).unwrap(), request);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..200), header in proptest::option::of(0_usize..250)) {
        let body = Bytes::from(body);
        let too_long = header.is_some_and(|header| header > body.len());
        let request = InferRequest::decode(&body, header);
        prop_assert_eq!(matches!(request, Err(DecodeError::HeaderLength { .. })), too_long);
        prop_assert!(InferResponse::decode(&body, header).is_err());
    }

    #[test]
    fn json_like_data_never_panics(data in "[\\[\\]{}\",:0-9a-z\\\\ .+-]{0,40}", shape in vec(0_u64..5, 0..4)) {
        for datatype in ["FP32", "INT8", "BOOL", "BYTES", "FP16"] {
            let body = format!(r#"{{"inputs":[{{"name":"x","shape":{shape:?},"datatype":"{datatype}","data":[{data}]}}]}}"#);
            if let Ok(request) = InferRequest::decode(&Bytes::from(body), None) {
                let tensor = &request.inputs[0].tensor;
                prop_assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>());
            }
        }
    }

    #[test]
    fn mutated_bodies_never_panic(
        tensors in tensors(binary_data),
        json in any::<bool>(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6),
        shift in -3_isize..4,
    ) {
        let request = InferRequest::new(tensors);
        let format = if json { TensorFormat::Json } else { TensorFormat::Binary };
        let Ok(encoded) = request.encode(format) else { return Ok(()) };
        let mut body = encoded.body.to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(body.len().max(1));
            match kind {
                0 if at < body.len() => body[at] = byte,
                1 if at < body.len() => { body.remove(at); }
                _ => body.insert(at.min(body.len()), byte),
            }
        }
        let header = encoded.header_length.map(|length| length.saturating_add_signed(shift));
        if let Ok(decoded) = InferRequest::decode(&Bytes::from(body), header) {
            for input in &decoded.inputs {
                let count = input.tensor.shape.iter().product::<usize>();
                prop_assert_eq!(input.tensor.data.len(), count);
            }
        }
    }

    #[test]
    fn hostile_binary_headers_never_panic(shape in vec(any::<u64>(), 0..4), size in any::<u64>(), tail in vec(any::<u8>(), 0..40)) {
        for datatype in ["FP64", "INT8", "BYTES", "BF16", "BOOL"] {
            let head = format!(
                r#"{{"inputs":[{{"name":"x","shape":{shape:?},"datatype":"{datatype}","parameters":{{"binary_data_size":{size}}}}}]}}"#
            );
            let body = [head.as_bytes(), &tail].concat();
            let honest = size as usize == tail.len();
            let decoded = InferRequest::decode(&Bytes::from(body), Some(head.len()));
            prop_assert!(honest || decoded.is_err());
        }
    }
}

#[test]
fn a_list_is_no_object() {
    let list =
        Bytes::from(r#" [null, null, [["data_id", [1], "BYTES", null, ["wine-0001"]]], []]"#);
    let error = InferRequest::decode(&list, None).expect_err("a list is no request");
    assert!(matches!(error, DecodeError::Json(_)), "{error:?}");
    let object =
        protocol::object::<serde_json::Value>(b" {\"models\": []}").expect("an object is one");
    assert!(object["models"].is_array());
}
