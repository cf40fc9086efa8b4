//! Single flight: concurrent requests for one key share one computation.
//!
//! The computation runs in a task of its own, so a client that leaves takes nobody's answer with it. A flight that landed
//! well is kept for a moment: a request that looked into the store before the landing, and found nothing, must not compute
//! again what the landing has just stored.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::store::Key;

/// How long a landed flight is remembered; longer than a lookup of the store may take.
const REMEMBERED: Duration = Duration::from_secs(2);

/// The flights under way.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    table: Mutex<Table<T>>,
}

#[derive(Debug)]
struct Table<T> {
    seats: HashMap<Key, Seat<T>>,
    landed: VecDeque<(Instant, Key, u64)>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Seat<T> {
    flight: u64,
    arrival: Arrival<T>,
    landed: Option<Instant>,
}

/// What a request got on.
#[derive(Debug)]
pub(crate) struct Boarding<T> {
    /// The keys (by their index) that this request must compute, and the right to tell the outcome.
    pub(crate) lead: Option<(Vec<usize>, Pilot<T>)>,
    /// The keys that another request computes.
    pub(crate) join: Vec<(usize, Arrival<T>)>,
}

/// Tells the outcome of a flight to whoever waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival<T> {
    outcome: watch::Receiver<Option<T>>,
}

/// Whoever holds this computes. Dropped without [`Pilot::land`], the flight is gone and its waiters hear of it.
#[derive(Debug)]
pub(crate) struct Pilot<T> {
    flights: Arc<Flights<T>>,
    keys: Vec<Key>,
    flight: u64,
    outcome: watch::Sender<Option<T>>,
}

impl<T: Clone> Flights<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                seats: HashMap::new(),
                landed: VecDeque::new(),
                next: 0,
            }),
        })
    }

    /// Joins the flights of `keys` that are under way, or landed after `looked` (when the store was asked); the others are
    /// the caller's to compute.
    pub(crate) fn board(self: &Arc<Self>, keys: &[Key], looked: Instant) -> Boarding<T> {
        let mut table = self.lock();
        table.forget(Instant::now());
        let mut pilot = self.pilot(&mut table);
        let (mut lead, mut join) = (Vec::new(), Vec::new());
        for (index, key) in keys.iter().enumerate() {
            match table.seats.get(key) {
                Some(seat) if seat.landed.is_none_or(|landed| landed >= looked) => {
                    join.push((index, seat.arrival.clone()));
                }
                _ => {
                    let seat = Seat {
                        flight: pilot.flight,
                        arrival: pilot.arrival(),
                        landed: None,
                    };
                    table.seats.insert(key.clone(), seat);
                    pilot.keys.push(key.clone());
                    lead.push(index);
                }
            }
        }
        drop(table);
        let lead = (!lead.is_empty()).then_some((lead, pilot));
        Boarding { lead, join }
    }

    /// A flight that nobody else may join.
    pub(crate) fn solo(self: &Arc<Self>) -> Pilot<T> {
        self.pilot(&mut self.lock())
    }

    fn pilot(self: &Arc<Self>, table: &mut Table<T>) -> Pilot<T> {
        table.next += 1;
        Pilot {
            flights: Arc::clone(self),
            keys: Vec::new(),
            flight: table.next,
            outcome: watch::Sender::new(None),
        }
    }
}

impl<T> Flights<T> {
    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Table<T> {
    /// Drops the landed flights that no lookup can have missed any more.
    fn forget(&mut self, now: Instant) {
        while self
            .landed
            .front()
            .is_some_and(|(at, ..)| now.duration_since(*at) > REMEMBERED)
        {
            if let Some((_, key, flight)) = self.landed.pop_front() {
                self.leave(&key, flight);
            }
        }
    }
}

impl<T> Table<T> {
    fn leave(&mut self, key: &Key, flight: u64) {
        if self
            .seats
            .get(key)
            .is_some_and(|seat| seat.flight == flight)
        {
            self.seats.remove(key);
        }
    }
}

impl<T> Pilot<T> {
    /// Where the outcome will be told.
    pub(crate) fn arrival(&self) -> Arrival<T> {
        Arrival {
            outcome: self.outcome.subscribe(),
        }
    }
}

impl<T> Pilot<T> {
    /// Tells the outcome. Only one that is worth `keeping` is remembered; an error is shared by those who wait, no more.
    pub(crate) fn land(mut self, outcome: T, keeping: bool) {
        if keeping {
            let now = Instant::now();
            let mut table = self.flights.lock();
            for key in std::mem::take(&mut self.keys) {
                if let Some(seat) = table
                    .seats
                    .get_mut(&key)
                    .filter(|seat| seat.flight == self.flight)
                {
                    seat.landed = Some(now);
                }
                table.landed.push_back((now, key, self.flight));
            }
        }
        self.outcome.send_replace(Some(outcome));
    }
}

impl<T> Drop for Pilot<T> {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            let mut table = self.flights.lock();
            self.keys
                .iter()
                .for_each(|key| table.leave(key, self.flight));
        }
    }
}

impl<T: Clone> Arrival<T> {
    /// The outcome; `None` when the flight ended without one.
    pub(crate) async fn wait(mut self) -> Option<T> {
        let outcome = self.outcome.wait_for(Option::is_some).await.ok()?;
        (*outcome).clone()
    }
}
