//! The folder of a small BERT, as Hugging Face writes it, with weights that mean nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// The files of a model; a test may change them before it writes them.
#[derive(Clone, Debug)]
pub struct BertFolder {
    /// `config.json`
    pub config: Value,
    /// `tokenizer.json`
    pub tokenizer: Value,
    /// `model.safetensors`: shape and values of each tensor.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// The tokens of the model, by their id.
const WORDS: [&str; 12] = [
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "camera",
    "pictures",
    "is",
    "are",
    "excellent",
    "terrible",
    ".",
    ",",
];

impl BertFolder {
    /// Values of a vector.
    pub const WIDTH: usize = 16;
    /// Tokens of a text at most, with the two that begin and end it.
    pub const MAX_TOKENS: usize = 24;

    /// An encoder of two layers; its vector is the mean of the tokens.
    pub fn sentence_encoder() -> Self {
        Self {
            config: config("BertModel"),
            tokenizer: tokenizer(),
            tensors: encoder("").collect(),
        }
    }

    /// The same with a pooler and a classifier.
    pub fn classifier(labels: &[&str]) -> Self {
        let mut config = config("BertForSequenceClassification");
        let labels = labels.iter().enumerate();
        let names = labels.map(|(at, label)| (at.to_string(), json!(label)));
        let names: Map<String, Value> = names.collect();
        let (width, classes) = (Self::WIDTH, names.len());
        config["id2label"] = names.into();
        let head = [
            ("bert.pooler.dense.weight", vec![width, width]),
            ("bert.pooler.dense.bias", vec![width]),
            ("classifier.weight", vec![classes, width]),
            ("classifier.bias", vec![classes]),
        ];
        let head = head.into_iter().enumerate();
        let head = head.map(|(at, (name, shape))| tensor(at + 100, name.to_owned(), shape));
        Self {
            config,
            tokenizer: tokenizer(),
            tensors: encoder("bert.").chain(head).collect(),
        }
    }

    /// Writes the three files.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("config.json"), self.config.to_string())?;
        fs::write(folder.join("tokenizer.json"), self.tokenizer.to_string())?;
        fs::write(folder.join("model.safetensors"), self.safetensors())?;
        Ok(())
    }

    /// The format is the length of a JSON object, that object, and the values one after the other.
    fn safetensors(&self) -> Vec<u8> {
        let (mut header, mut values) = (Map::new(), Vec::new());
        for (name, (shape, of_tensor)) in &self.tensors {
            let start = values.len();
            values.extend(of_tensor.iter().flat_map(|value| value.to_le_bytes()));
            let fields =
                json!({"dtype": "F32", "shape": shape, "data_offsets": [start, values.len()]});
            header.insert(name.clone(), fields);
        }
        let header = Value::from(header).to_string();
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &values].concat()
    }
}

fn config(architecture: &str) -> Value {
    json!({
        "architectures": [architecture], "model_type": "bert", "vocab_size": WORDS.len(),
        "hidden_size": BertFolder::WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24, "hidden_act": "gelu", "type_vocab_size": 2,
        "max_position_embeddings": BertFolder::MAX_TOKENS, "layer_norm_eps": 1e-12,
    })
}

fn tokenizer() -> Value {
    let words = WORDS.iter().enumerate();
    let vocabulary: Map<String, Value> = words
        .map(|(id, word)| ((*word).to_owned(), json!(id)))
        .collect();
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let of = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": true, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
            "pair": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]"),
                {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": of("[CLS]", 1), "[SEP]": of("[SEP]", 2)},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    })
}

type NamedTensor = (String, (Vec<usize>, Vec<f32>));

fn encoder(prefix: &str) -> impl Iterator<Item = NamedTensor> {
    let (width, wide) = (BertFolder::WIDTH, 24);
    let mut shapes = Vec::new();
    for (table, rows) in [
        ("word", WORDS.len()),
        ("position", BertFolder::MAX_TOKENS),
        ("token_type", 2),
    ] {
        shapes.push((
            format!("embeddings.{table}_embeddings.weight"),
            vec![rows, width],
        ));
    }
    let mut norms = vec!["embeddings".to_owned()];
    for layer in 0..2 {
        let layer = format!("encoder.layer.{layer}");
        for (name, inputs, outputs) in [
            ("attention.self.query", width, width),
            ("attention.self.key", width, width),
            ("attention.self.value", width, width),
            ("attention.output.dense", width, width),
            ("intermediate.dense", width, wide),
            ("output.dense", wide, width),
        ] {
            shapes.push((format!("{layer}.{name}.weight"), vec![outputs, inputs]));
            shapes.push((format!("{layer}.{name}.bias"), vec![outputs]));
        }
        norms.push(format!("{layer}.attention.output"));
        norms.push(format!("{layer}.output"));
    }
    for norm in norms {
        shapes.push((format!("{norm}.LayerNorm.weight"), vec![width]));
        shapes.push((format!("{norm}.LayerNorm.bias"), vec![width]));
    }
    let shapes = shapes.into_iter().enumerate();
    let tensors = shapes.map(|(at, (name, shape))| tensor(at, format!("{prefix}{name}"), shape));
    tensors.collect::<Vec<_>>().into_iter()
}

/// Values of ordinary size, the same at every run.
fn tensor(number: usize, name: String, shape: Vec<usize>) -> NamedTensor {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|at| ((at * 7 + number * 13) as f32 * 0.61).sin() * 0.4);
    let values = values.collect();
    (name, (shape, values))
}
