//! Which kinds of requests are sent, in which proportion.

use std::str::FromStr;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One wine whose prediction is stored.
    Hit,
    /// One wine, computed again.
    Miss,
    /// Several wines in one request, computed again.
    Batch,
    /// One text.
    Text,
    /// A wine that nobody knows: 404.
    Unknown,
    /// Features of which one is missing: 200 with a row error.
    Missing,
    /// Features far from those of the training.
    Shifted,
    /// New features of a new wine.
    Write,
    /// The prediction of a new wine, which is stored; it follows an accepted [`Kind::Write`].
    Store,
}

const NAMES: [(&str, Kind); 8] = [
    ("hit", Kind::Hit),
    ("miss", Kind::Miss),
    ("batch", Kind::Batch),
    ("text", Kind::Text),
    ("unknown", Kind::Unknown),
    ("missing", Kind::Missing),
    ("shifted", Kind::Shifted),
    ("write", Kind::Write),
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        let name = NAMES.iter().find(|(_, kind)| *kind == self);
        name.map_or("store", |(name, _)| name)
    }
}

/// Kinds with their weights, from `hit=70,miss=25,batch=5`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mix {
    weights: Vec<(Kind, f64)>,
}

impl Mix {
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.weights.iter().any(|(other, _)| *other == kind)
    }

    /// Adds a kind that is not there yet.
    pub(super) fn add(&mut self, kind: Kind, weight: f64) {
        if !self.has(kind) {
            self.weights.push((kind, weight));
        }
    }

    /// The kind at `point`, a number from 0 to 1 (exclusive), of the weights side by side.
    pub(super) fn at(&self, point: f64) -> Kind {
        let total: f64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = point * total;
        for (kind, weight) in &self.weights {
            left -= weight;
            if left < 0.0 {
                return *kind;
            }
        }
        // Rounding can leave a rest of nothing; there is always a last kind.
        self.weights.last().map_or(Kind::Hit, |(kind, _)| *kind)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self {
            weights: Vec::new(),
        };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let name = name.trim();
            let known = NAMES.iter().find(|(known, _)| *known == name);
            let Some((_, kind)) = known else {
                let names = NAMES.map(|(name, _)| name).join(", ");
                return Err(format!("there is no kind {name:?}; choose from {names}"));
            };
            let weight: f64 = weight.trim().parse().unwrap_or(f64::NAN);
            if !(weight > 0.0 && weight.is_finite()) {
                return Err(format!("the weight of {name} must be a number above 0"));
            }
            if mix.has(*kind) {
                return Err(format!("{name} is there twice"));
            }
            mix.weights.push((*kind, weight));
        }
        Ok(mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_shares_of_their_sum() {
        let mix: Mix = "hit=3, miss=1".parse().expect("well formed");
        let found = [0.0, 0.5, 0.749, 0.75, 0.999].map(|point| mix.at(point));
        let [hit, miss] = [Kind::Hit, Kind::Miss];
        assert_eq!(found, [hit, hit, hit, miss, miss]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("hit=1,mis=2", "\"mis\""),
            ("hit=0", "hit"),
            ("hit=-1", "above 0"),
            ("hit=inf", "above 0"),
            ("miss=x", "miss"),
            ("hit=1,hit=2", "twice"),
            ("", "there is no kind"),
        ] {
            let error = text.parse::<Mix>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
