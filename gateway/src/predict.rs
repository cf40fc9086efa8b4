//! A request for predictions: choose a variant for each instance, look all of them up in the store
//! with one call, compute the rest with one call for each variant, retry what failed on the next
//! variant, answer.
//!
//! A missing prediction is computed in a call that several requests may share (see
//! [`crate::single_flight`]) and that goes on when the client of the request that started it
//! leaves. The write into the store is part of that call and comes before the answer, so an answer
//! that says `stored` is true.

mod answer;
mod batch;
mod compute;
mod item;
mod look_up;
mod worker;

use std::sync::Arc;
use std::time::Instant;

use runtime::Deadline;

pub(crate) use answer::Answer;
pub(crate) use batch::Batch;
use batch::InputKind;
pub(crate) use batch::{check_count, is_data_id};
pub(crate) use compute::Compute;
use item::{Item, ItemIndex, State};
pub(crate) use look_up::LookUp;
pub(crate) use worker::Worker;

use crate::answered::AnsweredTraces;
use crate::cache::Directives;
use crate::choice::{Assignment, Choice, Wish};
use crate::discovery::KnownVariant;
use crate::dispatch::{Breakers, WaitingPermit, budget};
use crate::error::ApiError;
use crate::timing::Timing;
use crate::traffic::VariantIndex;
use crate::traffic::watch::SharedTraffic;

/// Answers requests for predictions.
pub(crate) struct Predictor {
    pub(crate) traffic: SharedTraffic,
    pub(crate) breakers: Breakers,
    pub(crate) look_up: LookUp,
    pub(crate) compute: Compute,
    pub(crate) answered: Arc<AnsweredTraces>,
}

/// One request under way.
struct Request {
    choice: Choice,
    items: Vec<Item>,
    /// For each instance asked for its item; `None` when that is the order of the items.
    order: Option<Vec<ItemIndex>>,
    input: InputKind,
    /// The variants that were resolved so far.
    known: Vec<(VariantIndex, Arc<KnownVariant>)>,
    /// The time of the last lookup.
    looked_up_at: Instant,
    timing: Timing,
    /// Held as soon as the request has to wait for a model.
    waiting: Option<WaitingPermit>,
}

/// Items that go to the same variant.
struct Group {
    variant: VariantIndex,
    known: Arc<KnownVariant>,
    items: Vec<ItemIndex>,
}

impl Predictor {
    /// Answers one request. The outer error is an error of the request itself.
    pub(crate) async fn answer(
        &self,
        batch: Batch,
        wish: Wish,
        directives: Directives,
        deadline: Deadline,
    ) -> Result<Answer, ApiError> {
        let mut request = self.choose(batch, wish)?;
        loop {
            let found = self.look_up.run(&mut request, directives).await;
            let groups = found.inspect_err(|_| request.record_fail_overs())?;
            self.compute
                .run(&mut request, groups, directives, deadline)
                .await;
            if !retry(&mut request, deadline) {
                return request.answer(&self.answered);
            }
        }
    }

    /// Chooses the variant of each instance.
    fn choose(&self, batch: Batch, wish: Wish) -> Result<Request, ApiError> {
        let split = Arc::clone(self.traffic.load().of(&batch.model));
        let choice = Choice::new(split, batch.model, wish, &self.breakers)?;
        let items = batch.instances.into_iter().map(|instance| Item {
            assignment: choice.assign(&instance.id),
            instance,
            looked_up: Vec::new(),
            calls: Vec::new(),
            state: State::Open,
        });
        Ok(Request {
            items: items.collect(),
            choice,
            order: batch.order,
            input: batch.input,
            known: Vec::new(),
            looked_up_at: Instant::now(),
            timing: Timing::default(),
            waiting: None,
        })
    }
}

/// Reopens the items whose variant failed, for their next variant; false if there are none.
fn retry(request: &mut Request, deadline: Deadline) -> bool {
    if budget(deadline.remaining()).is_zero() {
        return false;
    }
    let mut again = false;
    for item in &mut request.items {
        if let State::Broken(error) = &item.state
            && error.is_outage()
            && request
                .choice
                .reassign(&item.instance.id, &mut item.assignment, error.code())
        {
            item.state = State::Open;
            again = true;
        }
    }
    again
}

impl Request {
    fn known(&self, variant: VariantIndex) -> Option<&Arc<KnownVariant>> {
        let (_, known) = self.known.iter().find(|(known, _)| *known == variant)?;
        Some(known)
    }

    fn assignments(&self) -> impl Iterator<Item = (&str, &Assignment)> + Clone {
        let items = self.items.iter();
        items.map(|item| (&*item.instance.id, &item.assignment))
    }

    /// Whether a variant has failed for an item.
    fn has_failed(&self) -> bool {
        self.items
            .iter()
            .any(|item| !item.assignment.failed.is_empty())
    }
}
