//! The answer to one inference call, row by row.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};
use protocol::oip::{self, InferResponse, TensorData};
use protocol::{ErrorCode, RowErrorCode};
use telemetry::SpanRef;

use super::CallError;
use crate::timing::{self, UpstreamTiming};

/// The answer to one inference call; `rows` has the length and order of the input.
#[derive(Debug)]
pub(crate) struct Inference {
    pub(crate) version: Option<String>,
    pub(crate) run_id: Option<String>,
    pub(crate) computed_by: Option<SpanRef>,
    pub(crate) rows: Vec<Result<Row, ErrorCode>>,
    pub(crate) timing: UpstreamTiming,
}

/// One computed row: a class, or a number as [`StoredPrediction`](crate::store::StoredPrediction)
/// has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) confidence: f32,
    pub(crate) probabilities: Vec<f32>,
}

const OTHER_ROWS: CallError = CallError::Unusable("has another number of rows than was asked for");

impl Inference {
    pub(super) fn read(response: &Response<Bytes>, rows: usize) -> Result<Self, CallError> {
        let length = response
            .headers()
            .get(oip::HEADER_LENGTH)
            .map(|value| oip::parse_header_length(value.as_bytes()));
        let body = InferResponse::decode(
            response.body(),
            length.transpose().map_err(CallError::Malformed)?,
        );
        let body = body.map_err(CallError::Malformed)?;
        Ok(Self {
            rows: read_rows(&body, rows)?,
            version: body.model_version.filter(|version| !version.is_empty()),
            run_id: body.parameters.get_str("run_id").map(str::to_owned),
            computed_by: body.parameters.get_str("traceparent").and_then(recorded),
            timing: timing::upstream(response.headers()),
        })
    }

    /// The rows of an error that means that each of them failed for the same reason.
    pub(super) fn all_failed(error: &CallError, rows: usize) -> Option<Self> {
        let CallError::Answered {
            status: StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY,
            code: Some(code),
            ..
        } = error
        else {
            return None;
        };
        RowErrorCode::parse(code.as_str())?;
        Some(Self {
            version: None,
            run_id: None,
            computed_by: None,
            rows: vec![Err(*code); rows],
            timing: UpstreamTiming::default(),
        })
    }
}

impl Row {
    /// The row of a regression. A number that is not finite is no prediction.
    fn of_number(number: f32) -> Result<Self, ErrorCode> {
        if !number.is_finite() {
            return Err(ErrorCode::PredictionFailed);
        }
        Ok(Self {
            label: String::new(),
            confidence: 0.0,
            probabilities: vec![number],
        })
    }

    /// A row without a label, or with a number that is not finite, is no prediction. It fails alone:
    /// the other rows of the call are as good as without it.
    fn checked(self) -> Result<Self, ErrorCode> {
        let probabilities = self.probabilities.iter();
        let is_finite = self.confidence.is_finite() && probabilities.copied().all(f32::is_finite);
        if is_finite && !self.label.is_empty() {
            Ok(self)
        } else {
            Err(ErrorCode::PredictionFailed)
        }
    }
}

fn read_rows(body: &InferResponse, rows: usize) -> Result<Vec<Result<Row, ErrorCode>>, CallError> {
    let texts = |name| {
        body.output(name)
            .map(oip::Tensor::as_texts)
            .transpose()
            .map_err(CallError::Malformed)
    };
    let numbers = |name| body.output(name).and_then(numbers);
    let errors = texts("error")?.unwrap_or_default();
    let Some(labels) = texts("label")? else {
        let values = numbers("value").ok_or(CallError::Unusable(
            "has neither the output `label` nor the output `value`",
        ))?;
        return read_numbers(&values, &errors, rows);
    };
    let confidences = numbers("confidence").ok_or(CallError::Unusable(
        "has no output `confidence` of FP32 or FP64",
    ))?;
    let probabilities = numbers("probabilities").unwrap_or_default();
    let classes = probabilities.len() / rows.max(1);
    let fits =
        labels.len() == rows && confidences.len() == rows && classes * rows == probabilities.len();
    if !fits || !(errors.is_empty() || errors.len() == rows) {
        return Err(OTHER_ROWS);
    }
    let row = |at: usize| match errors.get(at) {
        Some(code) if !code.is_empty() => Err(row_error(code)),
        _ => Row {
            label: labels[at].to_owned(),
            confidence: confidences[at],
            probabilities: probabilities[at * classes..(at + 1) * classes].to_vec(),
        }
        .checked(),
    };
    Ok((0..rows).map(row).collect())
}

/// The rows of a regression.
fn read_numbers(
    values: &[f32],
    errors: &[&str],
    rows: usize,
) -> Result<Vec<Result<Row, ErrorCode>>, CallError> {
    if values.len() != rows || !(errors.is_empty() || errors.len() == rows) {
        return Err(OTHER_ROWS);
    }
    let row = |at: usize| match errors.get(at) {
        Some(code) if !code.is_empty() => Err(row_error(code)),
        _ => Row::of_number(values[at]),
    };
    Ok((0..rows).map(row).collect())
}

/// A word that this gateway does not know still means that the row failed.
fn row_error(code: &str) -> ErrorCode {
    RowErrorCode::parse(code).map_or(ErrorCode::PredictionFailed, ErrorCode::from)
}

/// The numbers of an output; Python's frameworks often answer in FP64.
fn numbers(tensor: &oip::Tensor) -> Option<Cow<'_, [f32]>> {
    match &tensor.data {
        TensorData::Fp32(data) => Some(data.into()),
        TensorData::Fp64(data) => Some(data.iter().map(|number| *number as f32).collect()),
        _ => None,
    }
}

/// The span that a `traceparent` names, if it was sampled: a link to a span that was not recorded
/// leads nowhere.
fn recorded(traceparent: &str) -> Option<SpanRef> {
    let flags = u8::from_str_radix(traceparent.split('-').nth(3)?, 16).ok()?;
    if flags & 1 == 1 {
        SpanRef::from_traceparent(traceparent)
    } else {
        None
    }
}
