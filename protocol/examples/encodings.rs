//! What the tensors of an answer cost as JSON and as raw bytes: the binary extension pays from some rows on.
//!
//!     cargo run --release -p protocol --example encodings

#![expect(clippy::print_stdout, reason = "a program whose output is a table")]

use std::hint::black_box;
use std::time::Instant;

use protocol::oip::{EncodeError, InferRequest, InferResponse, Tensor, TensorData, TensorFormat};

/// Calls of a function that are timed together, and how often; the fastest counts.
const CALLS: u32 = 500;
const ROUNDS: u32 = 20;
const CLASSES: usize = 3;

fn main() -> Result<(), EncodeError> {
    println!("| rows | tensors | bytes | µs to write | µs to read |");
    println!("|--:|---|--:|--:|--:|");
    for rows in [1, 3, 10, 100, 1000] {
        let response = response(rows);
        for (format, name) in [
            (TensorFormat::Json, "JSON"),
            (TensorFormat::Binary, "bytes"),
        ] {
            let mut request = InferRequest::default();
            request.set_output_format(format);
            let encoded = response.encode_for(&request)?;
            let write = microseconds(|| response.encode_for(&request));
            let read = microseconds(|| InferResponse::decode(&encoded.body, encoded.header_length));
            let bytes = encoded.body.len();
            println!("| {rows} | {name} | {bytes} | {write:.2} | {read:.2} |");
        }
    }
    Ok(())
}

/// Predictions of three classes as the model service answers them.
fn response(rows: usize) -> InferResponse {
    let labels = (0..rows).map(|row| ["low", "medium", "high"][row % CLASSES]);
    // Numbers with as many digits as a softmax gives.
    let numbers =
        |count: usize| TensorData::Fp32((1..=count).map(|at| (at as f32).sin().abs()).collect());
    let tensor = |name: &'static str, shape: Vec<usize>, data| Tensor {
        name: name.into(),
        shape,
        data,
    };
    let mut response = InferResponse {
        model_name: "wine_quality".to_owned(),
        model_version: Some("1".to_owned()),
        outputs: vec![
            Tensor::from_texts("label", labels).into(),
            tensor("confidence", vec![rows], numbers(rows)).into(),
            tensor(
                "probabilities",
                vec![rows, CLASSES],
                numbers(rows * CLASSES),
            )
            .into(),
        ],
        ..InferResponse::default()
    };
    let parameters = &mut response.parameters;
    parameters.insert("run_id", "4bf92f3577b34da6a3ce929d0e0e4736");
    parameters.insert(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    response
}

/// The time of one call.
fn microseconds<T>(call: impl Fn() -> T) -> f64 {
    let round = || {
        let begin = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
