//! Weighted rendezvous hashing: every variant draws a number for a key, and the lowest one wins.
//!
//! The draw is `-ln(u) / weight` with `u` from a hash of salt, variant and key: an exponential variable of rate `weight`, so
//! that each variant wins its share (C. Schindelhauer, G. Schomaker: Weighted Distributed Hash Tables, 2005). A draw depends
//! on nothing of the other variants. So a weight that grows wins keys for its own variant only, one that shrinks loses keys
//! of its own variant only, and a new variant takes keys and moves none among the others.

use sha2::{Digest, Sha256};

use crate::routes::{Route, Variant};

/// The variant of a key; `None` if none gets traffic.
pub(super) fn best(route: &Route, key: &str) -> Option<usize> {
    draws(route, key)
        .min_by(|left, right| left.1.total_cmp(&right.1))
        .map(|(at, _)| at)
}

/// All variants that get traffic, the best one first.
pub(super) fn ranked(route: &Route, key: &str) -> Vec<usize> {
    let mut draws: Vec<_> = draws(route, key).collect();
    draws.sort_by(|left, right| left.1.total_cmp(&right.1));
    draws.into_iter().map(|(at, _)| at).collect()
}

fn draws(route: &Route, key: &str) -> impl Iterator<Item = (usize, f64)> {
    let draw = move |(at, variant): (usize, &Variant)| {
        variant.answers().then(|| {
            (
                at,
                -unit(&route.salt, &variant.name, key).ln() / f64::from(variant.weight),
            )
        })
    };
    route.variants.iter().enumerate().filter_map(draw)
}

/// A number above 0 and below 1: the first 53 bits of SHA-256 of `salt NUL variant NUL key`, in the middle of their step.
/// Users keep their variant over releases by it, so it must stay as it is.
pub(super) fn unit(salt: &str, variant: &str, key: &str) -> f64 {
    let mut hash = Sha256::new();
    for part in [salt, "\0", variant, "\0", key] {
        hash.update(part);
    }
    let digest = hash.finalize();
    let bits = digest[..8]
        .iter()
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte))
        >> 11;
    (bits as f64 + 0.5) / (1_u64 << 53) as f64
}
