//! One instance on its way to an answer.

use std::sync::Arc;

use protocol::ErrorCode;
use telemetry::SpanRef;

use crate::cache::{CacheResult, LeftOut};
use crate::choice::Assignment;
use crate::freshness::Freshness;
use crate::model_client::{CallError, Instance};
use crate::single_flight::Role;
use crate::store::StoredPrediction;
use crate::store::watched::WriteEnd;
use crate::traffic::VariantIndex;

/// The place of an item in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemIndex(pub(super) usize);

/// One instance, the variant that it goes to, and its result so far.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) instance: Instance,
    pub(super) assignment: Assignment,
    /// What the store answered for each variant that was asked.
    pub(super) looked_up: Vec<(VariantIndex, CacheResult)>,
    /// The calls for it, of one variant after another.
    pub(super) calls: Vec<CallSummary>,
    pub(super) state: State,
}

/// The result of an item.
#[derive(Debug)]
pub(super) enum State {
    /// Still to be looked up or computed.
    Open,
    Stored(StoredPrediction, Freshness),
    Computed(StoredPrediction),
    /// This instance has no prediction.
    Failed(ErrorCode),
    /// The call failed as a whole.
    Broken(Arc<CallError>),
    LeftOut(LeftOut),
}

/// What an item keeps of a call that computed it, or failed to.
#[derive(Clone, Debug)]
pub(super) struct CallSummary {
    pub(super) role: Role,
    /// The span that did the work.
    pub(super) worker: Option<SpanRef>,
    /// What became of the write; `None` when nothing was to be stored.
    pub(super) stored: Option<WriteEnd>,
}

impl Item {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The prediction, if it has one.
    pub(super) fn prediction(&self) -> Option<&StoredPrediction> {
        match &self.state {
            State::Stored(prediction, _) | State::Computed(prediction) => Some(prediction),
            State::Open | State::Failed(_) | State::Broken(_) | State::LeftOut(_) => None,
        }
    }
}
