//! The state of one group of a rule: inactive → pending → firing → resolved.

use super::report::State;

/// A state with the time of its begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Machine {
    pub state: State,
    pub since: u64,
    /// While it fires: since when the value is good.
    good_since: Option<u64>,
}

/// What a look at the window says. Between both limits neither is true, and nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Beyond the limit.
    pub bad: bool,
    /// Within the limit by more than the hysteresis.
    pub good: bool,
}

impl Machine {
    pub(super) fn new(now: u64) -> Machine {
        Machine {
            state: State::Inactive,
            since: now,
            good_since: None,
        }
    }

    /// The next state, if it changes. It fires after the verdict was bad for `pending`, and is
    /// resolved after it was good for `keep_firing`, both in nanoseconds.
    pub(super) fn step(
        &mut self,
        now: u64,
        verdict: Verdict,
        pending: u64,
        keep_firing: u64,
    ) -> Option<State> {
        match self.state {
            State::Inactive | State::Resolved if verdict.bad && pending == 0 => {
                self.enter(State::Firing, now)
            }
            State::Inactive | State::Resolved if verdict.bad => self.enter(State::Pending, now),
            State::Pending if !verdict.bad => self.enter(State::Inactive, now),
            State::Pending if now.saturating_sub(self.since) >= pending => {
                self.enter(State::Firing, now)
            }
            State::Firing if verdict.good => {
                let since = *self.good_since.get_or_insert(now);
                (now.saturating_sub(since) >= keep_firing)
                    .then(|| self.enter(State::Resolved, now))
                    .flatten()
            }
            State::Firing => {
                self.good_since = None;
                None
            }
            _ => None,
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it is what `step` returns after every change"
    )]
    fn enter(&mut self, state: State, now: u64) -> Option<State> {
        *self = Machine {
            state,
            since: now,
            good_since: None,
        };
        Some(state)
    }
}
