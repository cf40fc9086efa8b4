//! `GET /v1/models/{model}/drift`: how far the input of each variant's versions is from their
//! training, as their model services know it.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::future::join_all;
use protocol::ErrorCode;
use runtime::Deadline;

use crate::api::{
    ComputeFailed, DriftError, DriftErrorCode, DriftResponse, Problem, Refused, VariantDrift,
};
use crate::discovery::Discovery;
use crate::error::ApiError;
use crate::model_client::{CallError, ModelClient};
use crate::predictions::json;
use crate::traffic::Variant;
use crate::traffic::watch::SharedTraffic;

/// What the handler uses.
#[derive(Clone)]
pub(crate) struct DriftReader {
    pub(crate) discovery: Discovery,
    pub(crate) traffic: SharedTraffic,
    pub(crate) client: ModelClient,
}
