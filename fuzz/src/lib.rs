//! What the OIP targets check of every request and response that was accepted.

use protocol::oip::{InferOutput, InferRequest, InferResponse, Tensor, TensorData, TensorFormat};

/// Checks an accepted request: it is consistent, comes back from every form that can carry it, and can be answered.
pub fn check_request(request: &InferRequest) {
    let tensors = || request.inputs.iter().map(|input| &input.tensor);
    tensors().for_each(check_shape);
    let _ = request.timeout();

    for format in [TensorFormat::Json, TensorFormat::Binary] {
        if !tensors().all(|tensor| can_carry(format, tensor)) {
            assert!(
                request.encode(format).is_err(),
                "{format:?} cannot carry it"
            );
            continue;
        }
        let encoded = request.encode(format).expect("the form can carry it");
        let back = InferRequest::decode(&encoded.body, encoded.header_length)
            .expect("an encoded request can be read");
        assert_eq!(
            (&back.id, &back.parameters, &back.outputs),
            (&request.id, &request.parameters, &request.outputs)
        );
        let same = back
            .inputs
            .iter()
            .zip(&request.inputs)
            .all(|(back, input)| {
                back.parameters == input.parameters && identical(&back.tensor, &input.tensor)
            });
        assert!(
            same && back.inputs.len() == request.inputs.len(),
            "{format:?} changed the inputs: {request:?} became {back:?}"
        );
    }
    check_answer(request);
}

/// Checks an accepted response in the same way.
pub fn check_response(response: &InferResponse) {
    let tensors = || response.outputs.iter().map(|output| &output.tensor);
    tensors().for_each(check_shape);

    for format in [TensorFormat::Json, TensorFormat::Binary] {
        if !tensors().all(|tensor| can_carry(format, tensor)) {
            assert!(
                response.encode(format).is_err(),
                "{format:?} cannot carry it"
            );
            continue;
        }
        let encoded = response.encode(format).expect("the form can carry it");
        let back = InferResponse::decode(&encoded.body, encoded.header_length)
            .expect("an encoded response can be read");
        assert_eq!(
            (
                &back.model_name,
                &back.model_version,
                &back.id,
                &back.parameters
            ),
            (
                &response.model_name,
                &response.model_version,
                &response.id,
                &response.parameters
            )
        );
        let same = back
            .outputs
            .iter()
            .zip(&response.outputs)
            .all(|(back, output)| {
                back.parameters == output.parameters && identical(&back.tensor, &output.tensor)
            });
        assert!(
            same && back.outputs.len() == response.outputs.len(),
            "{format:?} changed the outputs: {response:?} became {back:?}"
        );
    }
}

/// A model that returns its inputs can answer the request in the forms that the request asks for.
fn check_answer(request: &InferRequest) {
    let names: Vec<_> = request
        .inputs
        .iter()
        .map(|input| &input.tensor.name)
        .collect();
    if request.check_outputs(&names).is_err() {
        return;
    }
    let response = InferResponse {
        model_name: "echo".to_owned(),
        id: request.id.clone(),
        outputs: request
            .inputs
            .iter()
            .map(|input| InferOutput::from(input.tensor.clone()))
            .collect(),
        ..InferResponse::default()
    };
    let wanted: Vec<_> = response
        .outputs
        .iter()
        .filter(|output| request.wants_output(&output.tensor.name))
        .collect();
    let possible = wanted
        .iter()
        .all(|output| can_carry(request.output_format(&output.tensor.name), &output.tensor));
    let Ok(encoded) = response.encode_for(request) else {
        assert!(!possible, "the answer can be written: {request:?}");
        return;
    };
    assert!(possible, "the answer cannot be written: {request:?}");
    let back = InferResponse::decode(&encoded.body, encoded.header_length)
        .expect("an encoded answer can be read");
    assert_eq!(back.id, request.id);
    let same = back
        .outputs
        .iter()
        .zip(&wanted)
        .all(|(back, output)| identical(&back.tensor, &output.tensor));
    assert!(
        same && back.outputs.len() == wanted.len(),
        "{back:?} answers {request:?}"
    );
}

/// The shape of a decoded tensor gives the number of its elements.
fn check_shape(tensor: &Tensor) {
    assert_eq!(
        tensor.data.len(),
        tensor.shape.iter().product::<usize>(),
        "{tensor:?}"
    );
}

/// JSON has no 16-bit floats, no NaN, no infinity, and no bytes that are not text.
fn can_carry(format: TensorFormat, tensor: &Tensor) -> bool {
    match (format, &tensor.data) {
        (TensorFormat::Binary, _) => true,
        (TensorFormat::Json, TensorData::Fp16(_) | TensorData::Bf16(_)) => false,
        (TensorFormat::Json, TensorData::Fp32(data)) => data.iter().all(|x| x.is_finite()),
        (TensorFormat::Json, TensorData::Fp64(data)) => data.iter().all(|x| x.is_finite()),
        (TensorFormat::Json, TensorData::Bytes(data)) => {
            data.iter().all(|x| std::str::from_utf8(x).is_ok())
        }
        (TensorFormat::Json, _) => true,
    }
}

/// Equality of bits, so that a NaN equals itself and 0 differs from -0.
fn identical(left: &Tensor, right: &Tensor) -> bool {
    let data = match (&left.data, &right.data) {
        (TensorData::Fp16(left), TensorData::Fp16(right)) => left
            .iter()
            .map(|x| x.to_bits())
            .eq(right.iter().map(|x| x.to_bits())),
        (TensorData::Bf16(left), TensorData::Bf16(right)) => left
            .iter()
            .map(|x| x.to_bits())
            .eq(right.iter().map(|x| x.to_bits())),
        (TensorData::Fp32(left), TensorData::Fp32(right)) => left
            .iter()
            .map(|x| x.to_bits())
            .eq(right.iter().map(|x| x.to_bits())),
        (TensorData::Fp64(left), TensorData::Fp64(right)) => left
            .iter()
            .map(|x| x.to_bits())
            .eq(right.iter().map(|x| x.to_bits())),
        (left, right) => left == right,
    };
    data && left.name == right.name && left.shape == right.shape
}
