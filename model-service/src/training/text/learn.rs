//! Learning of a bag of words: the vocabulary of the training part, its features, and the network.

use std::collections::BTreeSet;

use super::data::{CLASSES, TextExample};
use crate::candle::{FitOptions, Step, Targets, TextBag, TextFit};
use crate::model::{ComputeError, Probabilities, most_likely};
use crate::repository::Hyperparameters;
use crate::text::{BagFeatures, Bags, TextTokenizer, Words, vocabulary_json};
use crate::training::learn::Learner;

/// The texts of the training part as the network takes them.
pub(super) struct Prepared {
    /// `tokenizer.json`.
    pub(super) tokenizer_json: Vec<u8>,
    pub(super) tokenizer: TextTokenizer,
    pub(super) features: BagFeatures,
    pub(super) training: Encoded,
}

/// Texts as features, with their classes.
pub(super) struct Encoded {
    pub(super) bags: Bags,
    pub(super) classes: Vec<u32>,
    /// Token ids of each text.
    pub(super) tokens: Vec<Vec<u32>>,
}

pub(super) struct TextLearner<'a> {
    pub(super) fit: TextFit,
    examples: &'a Encoded,
}

impl Prepared {
    pub(super) fn of(training: &[&TextExample]) -> Result<Self, ComputeError> {
        let splitter = Words::new()?;
        let mut words = BTreeSet::new();
        for example in training {
            words.extend(splitter.of(&example.text)?);
        }
        let tokenizer_json = vocabulary_json(words.iter().map(String::as_str));
        let tokenizer = TextTokenizer::from_json(&tokenizer_json)?;
        let tokens = encode(&tokenizer, training)?;
        let features = BagFeatures::count(tokenizer.tokens(), tokens.iter().map(Vec::as_slice));
        let training = Encoded::of(&features, tokens, training);
        Ok(Self {
            tokenizer_json,
            tokenizer,
            features,
            training,
        })
    }

    /// Other texts with this vocabulary.
    pub(super) fn encode(&self, examples: &[&TextExample]) -> Result<Encoded, ComputeError> {
        let tokens = encode(&self.tokenizer, examples)?;
        Ok(Encoded::of(&self.features, tokens, examples))
    }

    pub(super) fn learner(
        &self,
        hyperparameters: &Hyperparameters,
        seed: u64,
    ) -> Result<TextLearner<'_>, ComputeError> {
        let widths = hyperparameters.widths(self.features.len(), CLASSES.len());
        let options = FitOptions {
            widths: widths[1..].to_vec(),
            learning_rate: hyperparameters.learning_rate,
            weight_decay: hyperparameters.weight_decay,
            seed,
        };
        Ok(TextLearner {
            fit: TextFit::new(self.features.clone(), &options)?,
            examples: &self.training,
        })
    }
}

impl Encoded {
    fn of(features: &BagFeatures, tokens: Vec<Vec<u32>>, examples: &[&TextExample]) -> Self {
        Self {
            bags: features.bags(tokens.iter().map(Vec::as_slice)),
            classes: examples.iter().map(|example| example.class).collect(),
            tokens,
        }
    }

    /// Share of the texts whose class is the most likely one.
    pub(super) fn accuracy_of(&self, probabilities: &Probabilities) -> f64 {
        let right = probabilities.rows().zip(&self.classes);
        let right = right.filter(|(row, class)| most_likely(row).0 == **class as usize);
        right.count() as f64 / self.classes.len().max(1) as f64
    }

    pub(super) fn predict(&self, model: &TextBag) -> Result<Probabilities, ComputeError> {
        let probabilities = model.probabilities_untraced(self.bags.clone())?;
        if probabilities.is_complete() {
            Ok(probabilities)
        } else {
            Err(ComputeError::NotFinite)
        }
    }
}

impl Learner for TextLearner<'_> {
    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.fit.set_learning_rate(learning_rate);
    }

    fn step(&mut self, examples: &[usize]) -> Result<Step, ComputeError> {
        let mut bags = Bags::default();
        let mut classes = Vec::with_capacity(examples.len());
        for index in examples {
            bags.push(self.examples.bags.get(*index));
            classes.push(self.examples.classes[*index]);
        }
        self.fit.step(bags, &Targets::Classes(classes))
    }

    fn accuracy(&self) -> Result<Option<f64>, ComputeError> {
        let probabilities = self.examples.predict(&self.fit.model()?)?;
        Ok(Some(self.examples.accuracy_of(&probabilities)))
    }
}

fn encode(
    tokenizer: &TextTokenizer,
    examples: &[&TextExample],
) -> Result<Vec<Vec<u32>>, ComputeError> {
    let texts = examples.iter().map(|example| &example.text);
    texts.map(|text| tokenizer.encode(text)).collect()
}
