//! How far in the future an event time may lie.
//!
//! A row replaces only rows that are not newer, so one row that is dated far ahead would refuse
//! every later write of its entity. Feast has no such bound. It reads times without an offset as
//! UTC, so a client that sends its local time is up to 14 hours ahead; the default of a day accepts
//! that and refuses a wrong unit, a wrong century and a sentinel such as 9999-12-31.

use std::time::Duration;

use crate::time::EventTime;

/// The bound at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FutureBound {
    now: EventTime,
    max: Duration,
}

impl FutureBound {
    /// An event time may be this much later than `now`.
    pub(crate) fn new(now: EventTime, max: Duration) -> Self {
        Self { now, max }
    }

    /// The reason to refuse a row with this event time, if there is one.
    pub(crate) fn check(self, event_time: EventTime) -> Result<(), String> {
        if event_time <= self.now.saturating_add(self.max) {
            return Ok(());
        }
        let [event_time, now] = [event_time, self.now].map(EventTime::to_rfc3339);
        Err(format!(
            "{event_time} is too far in the future: it may be {:?} after the clock of the feature store, {now} (--max-future)",
            self.max
        ))
    }
}
