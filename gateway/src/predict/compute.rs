//! The second part of a request: what is not stored is computed, by this request or by another one
//! that is already computing it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::Deadline;

use super::batch::InputKind;
use super::item::{CallSummary, ItemIndex, State};
use super::worker::{Computation, Computed, Worker};
use super::{Group, Request};
use crate::cache::{Directives, LeftOut};
use crate::discovery::Discovery;
use crate::dispatch::{Dispatcher, budget};
use crate::model_client::CallError;
use crate::single_flight::{Joined, Role, SingleFlight, Waiter};
use crate::store::Key;

/// The time that an outcome needs to reach its waiters after the call's own time limit.
const HAND_OVER: Duration = Duration::from_millis(20);

/// Computes predictions, or waits for another request that computes them.
pub(crate) struct Compute {
    pub(crate) discovery: Discovery,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) worker: Worker,
    pub(crate) calls: Arc<SingleFlight<Arc<Computed>>>,
}

/// An item whose computation is under way.
struct Waiting {
    item: ItemIndex,
    waiter: Waiter<Arc<Computed>>,
    role: Role,
}

impl Compute {
    /// Gives every open item a prediction or an error.
    pub(super) async fn run(
        &self,
        request: &mut Request,
        mut groups: Vec<Group>,
        directives: Directives,
        deadline: Deadline,
    ) {
        keep_open(request, &mut groups);
        if groups.is_empty() {
            return;
        }
        if let Some(why) = left_out(request.input, directives) {
            for item in request.items.iter_mut().filter(|item| item.is_open()) {
                item.state = State::LeftOut(why);
            }
            return;
        }
        if let Err(error) = self.wait(request) {
            let error = Arc::new(error);
            for item in request.items.iter_mut().filter(|item| item.is_open()) {
                item.state = State::Broken(Arc::clone(&error));
            }
            return;
        }
        let time = time_for_call(request, deadline);
        let mut waiting = Vec::new();
        for group in groups {
            waiting.extend(self.start(request, group, directives, time));
        }
        collect(request, waiting, time).await;
    }

    /// Takes a place among the requests that wait, if this one has none yet.
    fn wait(&self, request: &mut Request) -> Result<(), CallError> {
        if request.waiting.is_none() {
            request.waiting = Some(self.dispatcher.wait()?);
        }
        Ok(())
    }

    /// Joins the calls that compute items for another request, and starts one call for the rest.
    fn start(
        &self,
        request: &Request,
        group: Group,
        directives: Directives,
        time: Duration,
    ) -> Vec<Waiting> {
        // A client that wants a new computation, or nothing stored, shares no call.
        let Joined { waiters, leader } = if directives.no_cache || directives.no_store {
            self.calls.alone(group.items.len())
        } else {
            self.calls.join(keys(request, &group), request.looked_up_at)
        };
        let waiting: Vec<Waiting> = std::iter::zip(group.items, waiters)
            .map(|(item, (waiter, role))| Waiting { item, waiter, role })
            .collect();
        if let Some(leader) = leader {
            let led = waiting.iter().filter(|waiting| waiting.role == Role::Leads);
            let instances = led.map(|waiting| request.items[waiting.item.0].instance.clone());
            let computation = Computation {
                model: request.choice.model.clone(),
                split: Arc::clone(&request.choice.split),
                variant: group.variant,
                version: group.known.version.clone(),
                instances: instances.collect(),
                time,
                store: !directives.no_store,
            };
            if !request.has_failed() {
                self.call_shadows(&computation);
            }
            self.worker
                .start(computation, leader, request.waiting.clone());
        }
        waiting
    }

    /// Has the shadows of the model compute the same instances.
    fn call_shadows(&self, computation: &Computation) {
        self.dispatcher.call_shadows(&computation.split, |shadow| {
            let shadow_variant = &computation.split[shadow];
            let known = self.discovery.get(&computation.model, shadow_variant);
            let computation = Computation {
                variant: shadow,
                version: known.map(|known| known.version.clone()).unwrap_or_default(),
                ..computation.clone()
            };
            let worker = self.worker.clone();
            async move { worker.compute(computation).await.is_ok() }
        });
    }
}

/// Leaves only open items in the groups.
fn keep_open(request: &Request, groups: &mut Vec<Group>) {
    groups.retain_mut(|group| {
        group.items.retain(|at| request.items[at.0].is_open());
        !group.items.is_empty()
    });
}

/// Whether open items are not to be computed.
fn left_out(input: InputKind, directives: Directives) -> Option<LeftOut> {
    match input {
        _ if directives.only_if_cached => Some(LeftOut::OnlyIfCached),
        InputKind::TextId => Some(LeftOut::TextUnknown),
        InputKind::DataIds | InputKind::Texts | InputKind::Path => None,
    }
}

/// The time for the calls of this round: half of what is left while another variant could be asked
/// after them.
fn time_for_call(request: &Request, deadline: Deadline) -> Duration {
    let left = budget(deadline.remaining());
    let mut open = request.items.iter().filter(|item| item.is_open());
    if open.any(|item| request.choice.has_next(&item.instance.id, &item.assignment)) {
        left / 2
    } else {
        left
    }
}

fn keys(request: &Request, group: &Group) -> Vec<Key> {
    let keys = group.items.iter().map(|at| Key {
        model: request.choice.model.clone(),
        variant: Arc::clone(&request.choice.split[group.variant].name),
        version: group.known.version.clone(),
        data_id: request.items[at.0].instance.id.clone(),
    });
    keys.collect()
}

/// Waits for the calls and gives each item its row.
async fn collect(request: &mut Request, waiting: Vec<Waiting>, time: Duration) {
    let (started, mut write) = (Instant::now(), Duration::ZERO);
    let end = tokio::time::Instant::now() + time + HAND_OVER;
    for Waiting { item, waiter, role } in waiting {
        let computed = match tokio::time::timeout_at(end, waiter.outcome()).await {
            Ok(Some(computed)) => computed,
            Ok(None) => Arc::new(Computed::failed(CallError::Abandoned, None)),
            Err(_) => Arc::new(Computed::failed(CallError::TimedOut(None), None)),
        };
        write = write.max(computed.write);
        request.timing.upstream = request.timing.upstream.longer(computed.timing);
        let item = &mut request.items[item.0];
        item.state = match computed.row(&item.instance.id) {
            Ok(Ok(prediction)) => State::Computed(prediction.clone()),
            Ok(Err(code)) => State::Failed(code),
            Err(error) => State::Broken(Arc::clone(error)),
        };
        item.calls.push(CallSummary {
            role,
            worker: computed.worker,
            stored: computed.stored,
        });
    }
    // The write is time of the store, not of the model.
    let model = started.elapsed().saturating_sub(write);
    request.timing.model = Some(request.timing.model.unwrap_or_default() + model);
    request.timing.store += write;
}
