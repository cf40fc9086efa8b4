//! The configuration of an encoder, as `config.json` of a Hugging Face folder has it.

use serde::{Deserialize, Serialize};

/// The fields of `config.json` that the computation depends on; others are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    pub model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
    /// Whether a vector is scaled to length 1. Of `modules.json`, not of `config.json`.
    #[serde(default)]
    pub normalise: bool,
}

fn supported(field: &str, value: &str, known: &str) -> Result<(), String> {
    if value == known {
        return Ok(());
    }
    Err(format!("{field} is {value:?}; only {known:?} is supported"))
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl EncoderConfig {
    /// Whether encoders of this `model_type` can be computed. Others have other fields, too.
    pub fn check_type(model_type: &str) -> Result<(), String> {
        supported("model_type", model_type, "bert")
    }

    /// An error that says what cannot be computed.
    pub fn check(&self) -> Result<(), String> {
        Self::check_type(&self.model_type)?;
        for (field, value, known) in [
            ("hidden_act", &self.hidden_act, "gelu"),
            (
                "position_embedding_type",
                &self.position_embedding_type,
                "absolute",
            ),
        ] {
            supported(field, value, known)?;
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((field, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{field} is 0"));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps > 0.0) {
            return Err(format!("layer_norm_eps is {}", self.layer_norm_eps));
        }
        Ok(())
    }
}
