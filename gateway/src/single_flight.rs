//! Single flight: concurrent requests for one key share one call.
//!
//! The request that finds no call for a key leads one, and the others wait for its outcome. The
//! call runs in a task of its own, so it goes on when the leader's client leaves. A successful call
//! is remembered for a moment: a request that looked into the store before the call ended, and
//! found nothing, must not compute again what the call has just stored.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::store::Key;

/// The calls that can be shared.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    table: Mutex<Table<T>>,
    /// How long a call is remembered after its end: at least as long as a lookup in the store may
    /// take.
    remembered: Duration,
}

#[derive(Debug)]
struct Table<T> {
    calls: HashMap<Key, SharedCall<T>>,
    /// The calls that ended, the oldest first.
    ended: VecDeque<(Instant, Key, CallId)>,
    last: CallId,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CallId(u64);

/// The call for one key, under way or just ended.
#[derive(Clone, Debug)]
struct SharedCall<T> {
    id: CallId,
    waiter: Waiter<T>,
    ended: Option<Instant>,
}

/// What a request must do for the keys that it asked for.
#[derive(Debug)]
pub(crate) struct Joined<T> {
    /// A waiter for each key, in order, and whether this request leads the call.
    pub(crate) waiters: Vec<(Waiter<T>, Role)>,
    /// The right and the duty to finish the call for the keys that this request leads.
    pub(crate) leader: Option<Leader<T>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// This request makes the call.
    Leads,
    /// Another request makes it.
    Waits,
}

/// Waits for the outcome of a call; all clones get the same one.
#[derive(Clone, Debug)]
pub(crate) struct Waiter<T> {
    outcome: watch::Receiver<Option<T>>,
}

/// Makes the call. Dropped without [`Leader::finish`], the call is gone and its waiters get
/// nothing.
#[derive(Debug)]
pub(crate) struct Leader<T> {
    flights: Arc<SingleFlight<T>>,
    keys: Vec<Key>,
    id: CallId,
    outcome: watch::Sender<Option<T>>,
}

impl<T: Clone> SingleFlight<T> {
    pub(crate) fn new(remembered: Duration) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                calls: HashMap::new(),
                ended: VecDeque::new(),
                last: CallId::default(),
            }),
            remembered,
        })
    }

    /// Joins the calls for `keys` that are under way, or that ended after `looked_up` (when the
    /// store was asked), and leads one call for the other keys.
    pub(crate) fn join(self: &Arc<Self>, keys: Vec<Key>, looked_up: Instant) -> Joined<T> {
        let mut table = self.table.lock();
        table.forget(self.remembered);
        let mut leader = self.lead(&mut table);
        let mut waiters = Vec::with_capacity(keys.len());
        for key in keys {
            match table.calls.get(&key) {
                Some(call) if call.ended.is_none_or(|ended| ended >= looked_up) => {
                    waiters.push((call.waiter.clone(), Role::Waits));
                }
                _ => {
                    let call = SharedCall {
                        id: leader.id,
                        waiter: leader.waiter(),
                        ended: None,
                    };
                    waiters.push((call.waiter.clone(), Role::Leads));
                    table.calls.insert(key.clone(), call);
                    leader.keys.push(key);
                }
            }
        }
        drop(table);
        Joined {
            waiters,
            leader: (!leader.keys.is_empty()).then_some(leader),
        }
    }

    /// A call that no other request can join.
    pub(crate) fn alone(self: &Arc<Self>, keys: usize) -> Joined<T> {
        let leader = self.lead(&mut self.table.lock());
        Joined {
            waiters: vec![(leader.waiter(), Role::Leads); keys],
            leader: Some(leader),
        }
    }

    fn lead(self: &Arc<Self>, table: &mut Table<T>) -> Leader<T> {
        table.last.0 += 1;
        Leader {
            flights: Arc::clone(self),
            keys: Vec::new(),
            id: table.last,
            outcome: watch::Sender::new(None),
        }
    }
}

impl<T> Table<T> {
    /// Drops the calls that ended before every lookup still under way.
    fn forget(&mut self, remembered: Duration) {
        let now = Instant::now();
        while let Some((ended, ..)) = self.ended.front()
            && now.duration_since(*ended) > remembered
        {
            if let Some((_, key, id)) = self.ended.pop_front() {
                self.remove(&key, id);
            }
        }
    }

    fn remove(&mut self, key: &Key, id: CallId) {
        if self.calls.get(key).is_some_and(|call| call.id == id) {
            self.calls.remove(key);
        }
    }
}

impl<T> Leader<T> {
    fn waiter(&self) -> Waiter<T> {
        Waiter {
            outcome: self.outcome.subscribe(),
        }
    }

    /// Hands the outcome to all waiters. Only a call worth `remembering` answers requests that come
    /// after it.
    pub(crate) fn finish(mut self, outcome: T, remembering: bool) {
        if remembering {
            let now = Instant::now();
            let mut table = self.flights.table.lock();
            for key in std::mem::take(&mut self.keys) {
                if let Some(call) = table.calls.get_mut(&key)
                    && call.id == self.id
                {
                    call.ended = Some(now);
                }
                table.ended.push_back((now, key, self.id));
            }
        }
        self.outcome.send_replace(Some(outcome));
    }
}

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            let mut table = self.flights.table.lock();
            self.keys.iter().for_each(|key| table.remove(key, self.id));
        }
    }
}

impl<T: Clone> Waiter<T> {
    /// The outcome; `None` when the call ended without one.
    pub(crate) async fn outcome(mut self) -> Option<T> {
        let outcome = self.outcome.wait_for(Option::is_some).await.ok()?;
        (*outcome).clone()
    }
}
