//! The encoder against a plain one in f64, and weights that do not fit.

mod reference;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::packed::split;
use super::*;
use crate::candle::{EncoderHead, TextEncoder};
use crate::model::{Batch, Model};

fn config() -> EncoderConfig {
    EncoderConfig {
        model_type: "bert".to_owned(),
        vocab_size: 50,
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        intermediate_size: 40,
        hidden_act: "gelu".to_owned(),
        max_position_embeddings: 20,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        position_embedding_type: "absolute".to_owned(),
        normalise: true,
    }
}

/// The shape of every tensor, by its name.
fn shapes(config: &EncoderConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    for (table, rows) in [
        ("word", config.vocab_size),
        ("position", config.max_position_embeddings),
        ("token_type", config.type_vocab_size),
    ] {
        add(
            format!("embeddings.{table}_embeddings.weight"),
            &[rows, hidden],
        );
    }
    let mut norms = vec!["embeddings".to_owned()];
    for layer in 0..config.num_hidden_layers {
        let layer = format!("encoder.layer.{layer}");
        for (name, inputs, outputs) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", hidden, wide),
            ("output.dense", wide, hidden),
        ] {
            add(format!("{layer}.{name}.weight"), &[outputs, inputs]);
            add(format!("{layer}.{name}.bias"), &[outputs]);
        }
        norms.push(format!("{layer}.attention.output"));
        norms.push(format!("{layer}.output"));
    }
    for norm in norms {
        add(format!("{norm}.LayerNorm.weight"), &[hidden]);
        add(format!("{norm}.LayerNorm.bias"), &[hidden]);
    }
    shapes
}

type Tensors = HashMap<String, Tensor>;

/// Weights that are the same at every run, and of ordinary size.
fn tensors() -> Tensors {
    let shapes = shapes(&config()).into_iter().enumerate();
    let tensor = |(number, (name, shape)): (usize, (String, Vec<usize>))| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|at| ((at * 7 + number * 13) as f32 * 0.61).sin() * 0.4);
        let tensor = Tensor::from_vec(values.collect::<Vec<f32>>(), shape, &Device::Cpu);
        (name, tensor.unwrap())
    };
    shapes.map(tensor).collect()
}

fn file(tensors: &Tensors) -> Vec<u8> {
    safetensors::serialize(tensors, None).unwrap()
}

fn encoder(tensors: &Tensors) -> Result<Encoder, ComputeError> {
    Encoder::from_safetensors(&file(tensors), &config())
}

fn tokens(texts: &[&[u32]]) -> Tokens {
    let mut tokens = Tokens::default();
    for text in texts {
        tokens.push(text);
    }
    tokens
}

const TEXTS: [&[u32]; 4] = [
    &[1, 7, 2],
    &[3],
    &[9, 9, 49, 0, 5, 17, 4, 33],
    &[1, 7, 2, 8],
];

/// More tokens than [`SHORT`].
fn many() -> Vec<&'static [u32]> {
    let texts = TEXTS.repeat(10);
    assert!(texts.concat().len() > SHORT);
    texts
}

#[test]
fn vectors_are_those_of_the_plain_encoder() {
    let encoder = encoder(&tensors()).unwrap();
    // Few tokens, which are divided by heads and columns, and many, which are divided by texts.
    for texts in [TEXTS.to_vec(), many()] {
        let vectors = encoder.embed(&tokens(&texts)).unwrap();
        for (text, ours) in texts.iter().zip(vectors.chunks_exact(24)) {
            let plain = reference::vector(&tensors(), &config(), text);
            for (ours, plain) in ours.iter().zip(plain) {
                assert!((f64::from(*ours) - plain).abs() < 1e-5, "{ours} {plain}");
            }
        }
    }
}

/// The tensors of a sequence classifier with three classes.
fn classifier_tensors() -> Tensors {
    let mut all = tensors();
    for (name, shape) in [
        ("pooler.dense.weight", &[24, 24][..]),
        ("pooler.dense.bias", &[24]),
        ("classifier.weight", &[3, 24]),
        ("classifier.bias", &[3]),
    ] {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|at| (at as f32 * 0.37).cos() * 0.5);
        let tensor = Tensor::from_vec(values.collect::<Vec<f32>>(), shape, &Device::Cpu);
        all.insert(name.to_owned(), tensor.unwrap());
    }
    all
}

fn text_encoder(tensors: &Tensors, head: EncoderHead) -> Result<TextEncoder, ComputeError> {
    TextEncoder::from_safetensors(&file(tensors), &config(), head, &[24, 3])
}

#[test]
fn classes_are_those_of_the_plain_classifier() {
    let model = text_encoder(&classifier_tensors(), EncoderHead::Classifier).unwrap();
    let batch = Batch::Tokens(tokens(&TEXTS));
    let probabilities = model.probabilities(&batch).unwrap();
    for (text, ours) in TEXTS.iter().zip(probabilities.rows()) {
        let plain = reference::classes(&classifier_tensors(), &config(), text);
        for (ours, plain) in ours.iter().zip(plain) {
            assert!((f64::from(*ours) - plain).abs() < 1e-5, "{ours} {plain}");
        }
    }
}

#[test]
fn a_classifier_without_its_layers_is_refused_and_an_overflow_stays_in_its_text() {
    let error = text_encoder(&tensors(), EncoderHead::Classifier).unwrap_err();
    assert_eq!(error.to_string(), "tensor pooler.dense.weight is missing");
    let mut narrow = classifier_tensors();
    narrow.insert(
        "classifier.bias".to_owned(),
        narrow["pooler.dense.bias"].clone(),
    );
    let error = text_encoder(&narrow, EncoderHead::Classifier).unwrap_err();
    let expected = "tensor classifier.bias has the shape [24], and [3] is needed";
    assert_eq!(error.to_string(), expected);
    // The pooler overflows for whatever comes from the encoder, and the tangent would hide it.
    let mut large = classifier_tensors();
    for (name, value) in [
        ("pooler.dense.weight", f32::MAX),
        ("encoder.layer.1.output.LayerNorm.bias", 10.0),
    ] {
        let ones = large[name].ones_like().unwrap();
        large.insert(name.to_owned(), (ones * f64::from(value)).unwrap());
    }
    let model = text_encoder(&large, EncoderHead::Classifier).unwrap();
    let batch = Batch::Tokens(tokens(&TEXTS[..1]));
    let probabilities = model.probabilities(&batch).unwrap();
    assert!(
        probabilities
            .rows()
            .all(|row| row.iter().all(|value| value.is_nan()))
    );
}

#[test]
fn a_text_has_the_same_vector_in_every_company() {
    let encoder = encoder(&tensors()).unwrap();
    let together = encoder.embed(&tokens(&many())).unwrap();
    for (text, in_batch) in many().iter().zip(together.chunks_exact(24)) {
        let alone = encoder.embed(&tokens(&[text])).unwrap();
        for (alone, in_batch) in alone.iter().zip(in_batch) {
            assert!((alone - in_batch).abs() < 1e-5, "{alone} {in_batch}");
        }
    }
}

#[test]
fn an_encoder_below_bert_and_one_in_halves_are_read() {
    let whole = encoder(&tensors()).unwrap();
    let nested = tensors().into_iter();
    let nested: Tensors = nested
        .map(|(name, of)| (format!("bert.{name}"), of))
        .collect();
    let nested = encoder(&nested).unwrap();
    let tokens = tokens(&TEXTS);
    assert_eq!(
        whole.embed(&tokens).unwrap(),
        nested.embed(&tokens).unwrap()
    );
    let halves = tensors().into_iter();
    let halves: Tensors = halves
        .map(|(name, of)| (name, of.to_dtype(DType::F16).unwrap()))
        .collect();
    let halves = encoder(&halves).unwrap().embed(&tokens).unwrap();
    for (half, whole) in halves.iter().zip(whole.embed(&tokens).unwrap()) {
        assert!((half - whole).abs() < 0.01, "{half} {whole}");
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    for name in [
        "encoder.layer.1.output.dense.bias",
        "embeddings.LayerNorm.weight",
    ] {
        let mut missing = tensors();
        missing.remove(name);
        let mut narrow = tensors();
        let half = narrow[name].narrow(0, 0, 12).unwrap();
        narrow.insert(name.to_owned(), half.contiguous().unwrap());
        let mut infinite = tensors();
        let values = (infinite[name].ones_like().unwrap() / 0.0).unwrap();
        infinite.insert(name.to_owned(), values);
        for tensors in [missing, narrow, infinite] {
            let error = encoder(&tensors).unwrap_err();
            assert!(
                matches!(&error, ComputeError::Tensor { name: found, .. } if found == name),
                "{error}"
            );
        }
    }
    for bytes in [&b""[..], b"{}", &file(&tensors())[..500]] {
        let error = Encoder::from_safetensors(bytes, &config()).unwrap_err();
        assert!(matches!(error, ComputeError::Weights(_)), "{error}");
    }
}

#[test]
fn encoders_of_another_kind_are_refused() {
    type Change = fn(&mut EncoderConfig);
    let changes: [(Change, &str); 5] = [
        (|config| config.model_type = "t5".to_owned(), "model_type"),
        (|config| config.hidden_act = "silu".to_owned(), "hidden_act"),
        (
            |config| config.num_attention_heads = 5,
            "num_attention_heads",
        ),
        (|config| config.num_hidden_layers = 0, "num_hidden_layers"),
        (|config| config.layer_norm_eps = f64::NAN, "layer_norm_eps"),
    ];
    for (change, field) in changes {
        let mut config = config();
        change(&mut config);
        let error = Encoder::from_safetensors(&file(&tensors()), &config).unwrap_err();
        assert!(
            matches!(&error, ComputeError::Configuration(said) if said.contains(field)),
            "{error}"
        );
    }
}

#[test]
fn tokens_without_an_embedding_are_an_error_and_an_overflow_stays_in_its_text() {
    let encoder_of_ordinary_size = encoder(&tensors()).unwrap();
    let long = [1_u32; 21];
    for text in [&[50_u32][..], &[1, u32::MAX], &long] {
        let error = encoder_of_ordinary_size
            .embed(&tokens(&[text]))
            .unwrap_err();
        assert!(matches!(error, ComputeError::Input), "{error}");
    }
    let mut large = tensors();
    let words = large["embeddings.word_embeddings.weight"].clone();
    let factors: Vec<f32> = (0..50).map(|id| if id == 7 { 1e38 } else { 1.0 }).collect();
    let factors = Tensor::from_vec(factors, (50, 1), &Device::Cpu).unwrap();
    let words = words.broadcast_mul(&factors).unwrap();
    large.insert("embeddings.word_embeddings.weight".to_owned(), words);
    let vectors = encoder(&large).unwrap().embed(&tokens(&many())).unwrap();
    let of_many: Vec<bool> = vectors
        .chunks_exact(24)
        .map(|vector| vector.iter().all(|value| value.is_finite()))
        .collect();
    assert_eq!(of_many, [false, true, true, false].repeat(10));
    let vectors = encoder(&large).unwrap().embed(&tokens(&TEXTS)).unwrap();
    let finite: Vec<bool> = vectors
        .chunks_exact(24)
        .map(|vector| vector.iter().all(|value| value.is_finite()))
        .collect();
    assert_eq!(finite, [false, true, true, false]);
}

#[test]
fn parts_have_whole_texts_and_all_of_them() {
    for parts in 1..6 {
        let split = split(&tokens(&TEXTS), parts);
        assert!(split.len() <= parts.max(1), "{split:?}");
        let ids: Vec<u32> = split.iter().flat_map(|part| part.ids.clone()).collect();
        assert_eq!(ids, TEXTS.concat());
        let texts: usize = split.iter().map(|part| part.ends.len()).sum();
        assert_eq!(texts, TEXTS.len());
    }
}
