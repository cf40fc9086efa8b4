//! Predictions for texts: each becomes the ids of its tokens, or has an error.

use std::sync::Arc;

use bytes::Bytes;
use protocol::RowErrorCode;
use runtime::Deadline;
use telemetry::{Span, attr};

use super::instruments::ModelCall;
use super::{BatchPrediction, Predictor, start_span};
use crate::drift::{Inputs, Outputs};
use crate::engine::EngineError;
use crate::model::{Batch, ComputeError, Tokens};
use crate::repository::Loaded;
use crate::text::TextTokenizer;

/// A longer text is an error of its row.
const MAX_TEXT_BYTES: usize = 10_000;
/// More bytes than this are tokenised on a blocking thread: they would hold up other requests.
const MAX_INLINE_BYTES: usize = 8_192;
/// Characters of a text that are captured.
const CAPTURED: usize = 1_000;

/// The texts of a request before the model.
#[derive(Debug, Default)]
struct TokenRows {
    /// Good rows only.
    tokens: Tokens,
    /// One entry per row of the request; `None` is a good row.
    errors: Vec<Option<RowErrorCode>>,
    /// Of the rows that could be tokenised.
    counts: Counts,
    /// Tokens and unknown ones of each text that has tokens.
    each: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    characters: usize,
    tokens: usize,
    unknown: usize,
}

impl Predictor {
    /// Predicts the good texts. Texts are on no span unless the service captures them.
    pub(crate) async fn predict_texts(
        &self,
        loaded: &Arc<Loaded>,
        texts: Vec<Bytes>,
        deadline: Deadline,
    ) -> Result<BatchPrediction, EngineError> {
        let call = ModelCall::begin(loaded, &self.variant);
        let span = start_span(loaded, &self.variant, texts.len(), None);
        let rows = self.preprocess_texts(loaded, texts, &span).await;
        let rows = rows.inspect_err(|error| span.fail(error, error.error_type()))?;
        let inputs = Inputs::of_texts(&rows.each);
        if rows.tokens.is_empty() {
            self.drift.observe(loaded, inputs, Outputs::default());
            let width = loaded.manifest.outputs();
            return Ok(BatchPrediction::without_result(rows.errors, width));
        }
        let batch = Batch::Tokens(rows.tokens);
        let prediction = self.compute(loaded, batch, rows.errors, span, call, deadline);
        let prediction = prediction.await?;
        let outputs = prediction.outputs(&loaded.manifest);
        self.drift.observe(loaded, inputs, outputs);
        Ok(prediction)
    }

    async fn preprocess_texts(
        &self,
        loaded: &Loaded,
        texts: Vec<Bytes>,
        span: &Span,
    ) -> Result<TokenRows, EngineError> {
        let tokenizer = loaded.tokenizer.clone();
        let tokenizer = tokenizer.ok_or(EngineError::Compute(ComputeError::Input))?;
        let stage = span.in_scope(|| Span::start("preprocess_input", Vec::new()));
        if self.capture_text
            && let [text] = &texts[..]
        {
            let text = String::from_utf8_lossy(text);
            let text: String = text.chars().take(CAPTURED).collect();
            stage.set(attr::ML_INPUT_TEXT, text);
        }
        let rows = tokenise(tokenizer, texts).await;
        let rows = rows.inspect_err(|error| stage.fail(error, error.error_type()))?;
        for (name, count) in [
            (attr::ML_INPUT_LENGTH, rows.counts.characters),
            (attr::ML_INPUT_TOKENS, rows.counts.tokens),
        ] {
            stage.set(name, i64::try_from(count).unwrap_or(i64::MAX));
        }
        if rows.counts.tokens > 0 {
            let share = rows.counts.unknown as f64 / rows.counts.tokens as f64;
            stage.set(attr::ML_INPUT_UNKNOWN_SHARE, share);
        }
        Ok(rows)
    }
}

async fn tokenise(
    tokenizer: Arc<TextTokenizer>,
    texts: Vec<Bytes>,
) -> Result<TokenRows, EngineError> {
    let bytes: usize = texts.iter().map(Bytes::len).sum();
    if bytes <= MAX_INLINE_BYTES {
        return TokenRows::of(&tokenizer, &texts).map_err(EngineError::Compute);
    }
    let task = telemetry::task::spawn_blocking(move || TokenRows::of(&tokenizer, &texts));
    let rows = task.await.map_err(|_| EngineError::Panicked)?;
    rows.map_err(EngineError::Compute)
}

impl TokenRows {
    fn of(tokenizer: &TextTokenizer, texts: &[Bytes]) -> Result<Self, ComputeError> {
        let mut rows = Self::default();
        for text in texts {
            let error = rows.push(tokenizer, text)?.err();
            rows.errors.push(error);
        }
        Ok(rows)
    }

    fn push(
        &mut self,
        tokenizer: &TextTokenizer,
        text: &[u8],
    ) -> Result<Result<(), RowErrorCode>, ComputeError> {
        if text.len() > MAX_TEXT_BYTES {
            return Ok(Err(RowErrorCode::TextTooLong));
        }
        let Ok(text) = std::str::from_utf8(text) else {
            return Ok(Err(RowErrorCode::InvalidText));
        };
        let ids = tokenizer.encode(text)?;
        let (own, unknown) = (tokenizer.own(&ids), tokenizer.unknown(&ids));
        self.counts.characters += text.chars().count();
        self.counts.tokens += own;
        self.counts.unknown += unknown;
        if own > 0 {
            self.each.push((own, unknown));
        }
        Ok(if own == 0 {
            Err(RowErrorCode::EmptyText)
        } else if unknown == own {
            Err(RowErrorCode::UnknownWords)
        } else {
            self.tokens.push(&ids);
            Ok(())
        })
    }
}
