//! The encoder once more, in f64, one text and one value at a time.

use super::{EncoderConfig, Tensors};

type Matrix = Vec<Vec<f64>>;

/// The vector of a text, scaled to length 1.
pub(super) fn vector(tensors: &Tensors, config: &EncoderConfig, ids: &[u32]) -> Vec<f64> {
    let x = last_layer(tensors, config, ids);
    let mean: Vec<f64> = (0..config.hidden_size)
        .map(|at| x.iter().map(|row| row[at]).sum::<f64>() / x.len() as f64)
        .collect();
    let length = dot(&mean, &mean).sqrt();
    mean.iter().map(|value| value / length).collect()
}

/// The probabilities of a sequence classifier whose encoder has no prefix.
pub(super) fn classes(tensors: &Tensors, config: &EncoderConfig, ids: &[u32]) -> Vec<f64> {
    let linear = |x: &[f64], name: &str| -> Vec<f64> {
        let weight: Vec<Vec<f32>> = tensors[&format!("{name}.weight")].to_vec2().unwrap();
        let bias: Vec<f32> = tensors[&format!("{name}.bias")].to_vec1().unwrap();
        let rows = weight.iter().zip(bias);
        rows.map(|(row, bias)| {
            let products = row.iter().zip(x).map(|(weight, x)| f64::from(*weight) * x);
            products.sum::<f64>() + f64::from(bias)
        })
        .collect()
    };
    let first = &last_layer(tensors, config, ids)[0];
    let pooled: Vec<f64> = linear(first, "pooler.dense");
    let pooled: Vec<f64> = pooled.into_iter().map(f64::tanh).collect();
    let exponentials: Vec<f64> = linear(&pooled, "classifier");
    let exponentials: Vec<f64> = exponentials.into_iter().map(f64::exp).collect();
    let whole: f64 = exponentials.iter().sum();
    exponentials.iter().map(|value| value / whole).collect()
}

fn last_layer(tensors: &Tensors, config: &EncoderConfig, ids: &[u32]) -> Matrix {
    let matrix = |name: &str| -> Matrix {
        let rows: Vec<Vec<f32>> = tensors[name].to_vec2().unwrap();
        let wide = |row: Vec<f32>| row.into_iter().map(f64::from).collect();
        rows.into_iter().map(wide).collect()
    };
    let values = |name: &str| -> Vec<f64> {
        let values: Vec<f32> = tensors[name].to_vec1().unwrap();
        values.into_iter().map(f64::from).collect()
    };
    let linear = |x: &Matrix, name: &str| -> Matrix {
        let (weight, bias) = (
            matrix(&format!("{name}.weight")),
            values(&format!("{name}.bias")),
        );
        let output = |row: &Vec<f64>| -> Vec<f64> {
            let weights = weight.iter().zip(&bias);
            weights
                .map(|(weight, bias)| dot(row, weight) + bias)
                .collect()
        };
        x.iter().map(output).collect()
    };
    let norm = |x: Matrix, name: &str| -> Matrix {
        let name = format!("{name}.LayerNorm");
        let (weight, bias) = (
            values(&format!("{name}.weight")),
            values(&format!("{name}.bias")),
        );
        x.into_iter()
            .map(|row| {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                let squares: f64 = row.iter().map(|value| (value - mean).powi(2)).sum();
                let deviation = (squares / row.len() as f64 + config.layer_norm_eps).sqrt();
                let scaled = row.iter().map(|value| (value - mean) / deviation);
                let scaled = scaled.zip(weight.iter().zip(&bias));
                scaled
                    .map(|(value, (weight, bias))| value * weight + bias)
                    .collect()
            })
            .collect()
    };
    let words = matrix("embeddings.word_embeddings.weight");
    let positions = matrix("embeddings.position_embeddings.weight");
    let types = matrix("embeddings.token_type_embeddings.weight");
    let looked_up = ids.iter().zip(positions).map(|(id, position)| {
        let word = words[*id as usize].iter().zip(position);
        word.zip(&types[0])
            .map(|((word, position), of_type)| word + position + of_type)
            .collect()
    });
    let mut x = norm(looked_up.collect(), "embeddings");
    for layer in 0..config.num_hidden_layers {
        let layer = format!("encoder.layer.{layer}");
        let part = |name| linear(&x, &format!("{layer}.attention.self.{name}"));
        let attended = attend(&part("query"), &part("key"), &part("value"), config);
        let attended = linear(&attended, &format!("{layer}.attention.output.dense"));
        x = norm(add(attended, &x), &format!("{layer}.attention.output"));
        let mut wide = linear(&x, &format!("{layer}.intermediate.dense"));
        for value in wide.iter_mut().flatten() {
            *value *= 0.5 * (1.0 + erf(*value / 2.0_f64.sqrt()));
        }
        let narrow = linear(&wide, &format!("{layer}.output.dense"));
        x = norm(add(narrow, &x), &format!("{layer}.output"));
    }
    x
}

fn attend(query: &Matrix, key: &Matrix, value: &Matrix, config: &EncoderConfig) -> Matrix {
    let width = config.hidden_size / config.num_attention_heads;
    let mut attended = vec![vec![0.0; config.hidden_size]; query.len()];
    for head in 0..config.num_attention_heads {
        let part = head * width..(head + 1) * width;
        for (query, attended) in query.iter().zip(&mut attended) {
            let score = |key: &Vec<f64>| dot(&query[part.clone()], &key[part.clone()]);
            let scores = key
                .iter()
                .map(|key| (score(key) / (width as f64).sqrt()).exp());
            let scores: Vec<f64> = scores.collect();
            let whole: f64 = scores.iter().sum();
            for (score, value) in scores.iter().zip(value) {
                for at in part.clone() {
                    attended[at] += score / whole * value[at];
                }
            }
        }
    }
    attended
}

fn add(mut x: Matrix, y: &Matrix) -> Matrix {
    for (x, y) in x.iter_mut().flatten().zip(y.iter().flatten()) {
        *x += y;
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// By its series, which converges for the values that occur here.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
