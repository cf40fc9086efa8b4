//! Which examples are learnt from and which are held out.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::data::Example;

#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) training: Vec<Example>,
    pub(crate) held_out: Vec<Example>,
}

/// One part in `parts` of the rows is held out.
///
/// Rows with equal features go to one side together: the set holds some 240 repeated wines, and a wine that was learnt
/// says nothing when it is asked for again.
pub(crate) fn split(examples: &[Example], parts: usize, seed: u64) -> Split {
    let mut groups: Vec<Vec<&Example>> = Vec::new();
    let mut known: HashMap<[u32; 11], usize> = HashMap::new();
    for example in examples {
        let group = *known
            .entry(example.features.map(f32::to_bits))
            .or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
        groups[group].push(example);
    }
    groups.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let wanted = examples.len() / parts;
    let mut split = Split {
        training: Vec::new(),
        held_out: Vec::new(),
    };
    for group in groups {
        // A group too large for the rest of the held-out part goes to training, a smaller one may still fit.
        let side = if split.held_out.len() + group.len() <= wanted {
            &mut split.held_out
        } else {
            &mut split.training
        };
        side.extend(group.into_iter().cloned());
    }
    split
}
