//! Which failures of an outage are logged: the first, and never more than one in a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The log of one kind of outage. A dependency that fails and answers in turns begins an outage
/// with every second call, so an outage that begins soon after another was logged is only counted.
#[derive(Debug, Default)]
pub(crate) struct OutageLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logged_at: Option<Instant>,
    /// The outage that goes on is in the log.
    logged: bool,
    withheld: u64,
}

const PERIOD: Duration = Duration::from_secs(10);

impl OutageLog {
    /// Records a failure, `first` of its outage or not. To be logged it returns the end of the
    /// message: how many outages were not logged since the last one.
    pub(crate) fn failed(&self, first: bool, now: Instant) -> Option<String> {
        let mut state = self.0.lock();
        let soon = |at: Instant| now.saturating_duration_since(at) < PERIOD;
        if state.logged {
            return None;
        }
        if state.logged_at.is_some_and(soon) {
            state.withheld += u64::from(first);
            return None;
        }
        state.logged = true;
        state.logged_at = Some(now);
        // The outage that is logged now may have been counted when it began.
        let others = std::mem::take(&mut state.withheld).saturating_sub(u64::from(!first));
        Some(match others {
            0 => String::new(),
            others => format!(" ({others} more since the last such record)"),
        })
    }

    /// Records the end of an outage, and returns whether to log it: its beginning was.
    pub(crate) fn ended(&self) -> bool {
        std::mem::take(&mut self.0.lock().logged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_comes_and_goes_is_logged_once_in_a_period() {
        let (log, start) = (OutageLog::default(), Instant::now());
        let failed = |first, millis| log.failed(first, start + Duration::from_millis(millis));
        assert_eq!(failed(true, 0).as_deref(), Some(""));
        assert_eq!(failed(false, 20_000), None, "the same outage");
        assert!(log.ended());
        let log = OutageLog::default();
        let failed = |first, millis| log.failed(first, start + Duration::from_millis(millis));
        assert!(failed(true, 0).is_some() && log.ended());
        for millis in 1..1_000 {
            assert_eq!(failed(true, millis), None);
            assert!(!log.ended(), "its beginning is not in the log");
        }
        assert_eq!(failed(true, 1_000), None);
        assert_eq!(
            failed(false, 10_000).as_deref(),
            Some(" (999 more since the last such record)"),
            "an outage that goes on is logged in the end"
        );
        assert!(log.ended());
    }
}
