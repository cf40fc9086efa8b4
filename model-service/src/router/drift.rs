//! `GET /v2/models/{model_name}/drift`: how far the versions of a model are from their training.
//!
//! This path is ours; the Open Inference Protocol has none for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;

use super::reads::ModelPath;
use crate::drift::{Drift, DriftMonitor, ScoredWindow};
use crate::error::RequestError;
use crate::repository::{Loaded, ModelRepository, ModelVersions};

pub(super) type DriftState = (Arc<ModelRepository>, Arc<DriftMonitor>);

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct DriftBody {
    model_name: String,
    /// Rows that end a window, and windows without drift for one false alarm.
    window_rows: usize,
    windows_per_false_alarm: u32,
    versions: Vec<VersionBody>,
}

#[derive(Debug, Serialize)]
struct VersionBody {
    version: String,
    run_id: String,
    drift_detected: bool,
    since: Option<String>,
    /// The last window that ended; null before the first.
    window: Option<WindowBody>,
    waiting_rows: usize,
}

#[derive(Debug, Serialize)]
struct WindowBody {
    number: u64,
    rows: usize,
    first_at: String,
    last_at: String,
    scores: Vec<ScoreBody>,
    trace_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ScoreBody {
    feature: String,
    method: &'static str,
    score: f64,
    threshold: Option<f64>,
    rows: usize,
    reference_rows: usize,
    bins: Option<usize>,
    drift_detected: bool,
}

pub(super) async fn read(
    State((repository, monitor)): State<DriftState>,
    path: Result<Path<ModelPath>, PathRejection>,
) -> Result<Json<DriftBody>, RequestError> {
    let name = ModelPath::of(path)?.model_name;
    // An error that says whether the model is unknown, or has no version that is ready.
    let ready = repository.find(&name, None);
    ready.map_err(RequestError::NotServed)?;
    let models = repository.models();
    let versions = models.get(&name).into_iter().flat_map(ModelVersions::ready);
    let versions = versions.map(|loaded| version(loaded, monitor.drift(loaded)));
    Ok(Json(DriftBody {
        versions: versions.collect(),
        model_name: name,
        window_rows: monitor.options().window,
        windows_per_false_alarm: monitor.options().windows_per_false_alarm,
    }))
}

fn version(loaded: &Loaded, drift: Drift) -> VersionBody {
    VersionBody {
        version: loaded.manifest.version.clone(),
        run_id: loaded.manifest.run_id.clone(),
        drift_detected: drift.since.is_some(),
        since: drift.since.map(|since| since.to_string()),
        window: drift.window.map(window),
        waiting_rows: drift.waiting_rows,
    }
}

fn window(window: ScoredWindow) -> WindowBody {
    let scores = window.scores.into_iter().map(|score| ScoreBody {
        drift_detected: score.is_drift(),
        feature: score.feature.to_string(),
        method: score.method.as_str(),
        score: score.value,
        threshold: score.threshold,
        rows: score.rows,
        reference_rows: score.reference_rows,
        bins: score.bins,
    });
    WindowBody {
        number: window.number,
        rows: window.rows,
        first_at: window.first_at.to_string(),
        last_at: window.last_at.to_string(),
        scores: scores.collect(),
        trace_ids: window.trace_ids,
    }
}
