//! Weighted rendezvous hashing: every variant draws a number for a key, and the lowest number wins.
//!
//! The draw is `-ln(u) / weight` with `u` from a hash of salt, variant and key: an exponential
//! variable of rate `weight`, so that each variant wins its share (C. Schindelhauer, G. Schomaker:
//! Weighted Distributed Hash Tables, 2005). A draw does not depend on the other variants. So a
//! variant whose weight grows only gains keys, one whose weight shrinks only loses keys, and a new
//! variant takes keys without moving any among the others.

use sha2::{Digest, Sha256};

use crate::traffic::{Split, VariantIndex};

/// The variants that get traffic, the best one for a key first.
pub(super) fn ranked(split: &Split, key: &str) -> Vec<VariantIndex> {
    let mut draws: Vec<(VariantIndex, f64)> = split
        .answering()
        .map(|at| {
            let variant = &split[at];
            let unit = unit(&split.salt, &variant.name, key);
            (at, -unit.ln() / f64::from(variant.weight))
        })
        .collect();
    draws.sort_by(|left, right| left.1.total_cmp(&right.1));
    draws.into_iter().map(|(at, _)| at).collect()
}

/// A number above 0 and below 1: the first 53 bits of SHA-256 of `salt NUL variant NUL key`, in the
/// middle of their step. It must never change, since users would change their variants with it.
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
