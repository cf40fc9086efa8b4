//! The items of a request that are not stored, for `partial_success`.

use std::fmt::Display;

/// Characters of a reason that the exporter gets; a reason may quote the item.
const LONGEST_REASON: usize = 300;

/// How many items were refused, and why the first of them.
#[derive(Debug, Default)]
pub(crate) struct RejectedItems {
    items: usize,
    first_reason: Option<String>,
}

impl RejectedItems {
    pub(crate) fn add(&mut self, items: usize, reason: impl Display) {
        if items > 0 && self.first_reason.is_none() {
            let reason = reason.to_string().chars().take(LONGEST_REASON).collect();
            self.first_reason = Some(reason);
        }
        self.items += items;
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// The reason of the first refusal.
    pub(crate) fn reason(&self) -> &str {
        self.first_reason.as_deref().unwrap_or_default()
    }
}
