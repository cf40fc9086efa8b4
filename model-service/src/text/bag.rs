//! The features of a bag of words: words and pairs of neighbouring words, weighted by how rare they
//! are (TF-IDF).

use std::collections::BTreeMap;

use super::tokenizer::UNKNOWN;

/// Two neighbouring tokens.
type Pair = [u32; 2];

/// The features that a model knows: first every token, then every pair.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BagFeatures {
    /// Sorted, so that a binary search finds a pair without a second copy of all of them.
    pairs: Vec<Pair>,
    /// Inverse document frequency per feature.
    idf: Vec<f32>,
}

/// The weighted features of several texts, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bags {
    features: Vec<(u32, f32)>,
    /// Where each text ends in `features`.
    ends: Vec<usize>,
}

impl BagFeatures {
    /// `None` unless the pairs are sorted and of known tokens, and `idf` has a finite value per
    /// feature.
    pub(crate) fn new(tokens: usize, pairs: Vec<Pair>, idf: Vec<f32>) -> Option<Self> {
        let sorted = pairs.is_sorted_by(|a, b| a < b);
        let known = pairs
            .iter()
            .flatten()
            .all(|token| (*token as usize) < tokens);
        let weighted = idf.len() == tokens + pairs.len() && idf.iter().all(|idf| idf.is_finite());
        (sorted && known && weighted).then_some(Self { pairs, idf })
    }

    /// Counts the features of `texts`: every token, and every pair that occurs.
    pub(crate) fn count<'a>(tokens: usize, texts: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut of_token = vec![0_u32; tokens];
        let mut of_pair: BTreeMap<Pair, u32> = BTreeMap::new();
        let mut count = 0;
        for text in texts {
            count += 1;
            for token in distinct(text.iter().copied()) {
                of_token[token as usize] += 1;
            }
            for pair in distinct(pairs_of(text)) {
                *of_pair.entry(pair).or_default() += 1;
            }
        }
        // Smoothed, as if one more text had every feature.
        let idf = |texts: &u32| {
            let rarity = (1.0 + f64::from(count)) / (1.0 + f64::from(*texts));
            (rarity.ln() + 1.0) as f32
        };
        Self {
            idf: of_token.iter().chain(of_pair.values()).map(idf).collect(),
            pairs: of_pair.into_keys().collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.idf.len()
    }

    pub(crate) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    pub(crate) fn idf(&self) -> &[f32] {
        &self.idf
    }

    pub(crate) fn bags<'a>(&self, texts: impl Iterator<Item = &'a [u32]>) -> Bags {
        let mut bags = Bags::default();
        for text in texts {
            bags.push(&self.bag(text));
        }
        bags
    }

    /// The known features of a text with the weight `(1 + ln count) · idf`, scaled to length 1, so
    /// that a long text weighs as much as a short one.
    fn bag(&self, text: &[u32]) -> Vec<(u32, f32)> {
        let tokens = self.idf.len() - self.pairs.len();
        let words = text.iter().copied().filter(|token| *token != UNKNOWN);
        let pairs = pairs_of(text).filter_map(|pair| {
            let place = self.pairs.binary_search(&pair).ok()?;
            u32::try_from(tokens + place).ok()
        });
        let mut features: Vec<u32> = words.chain(pairs).collect();
        features.sort_unstable();
        let mut bag: Vec<(u32, f32)> = Vec::with_capacity(features.len());
        for equal in features.chunk_by(|a, b| a == b) {
            let idf = self.idf.get(equal[0] as usize).copied().unwrap_or(0.0);
            bag.push((equal[0], (1.0 + (equal.len() as f32).ln()) * idf));
        }
        let squares: f32 = bag.iter().map(|(_, weight)| weight * weight).sum();
        if squares > 0.0 {
            for (_, weight) in &mut bag {
                *weight /= squares.sqrt();
            }
        }
        bag
    }
}

impl Bags {
    pub(crate) fn push(&mut self, bag: &[(u32, f32)]) {
        self.features.extend_from_slice(bag);
        self.ends.push(self.features.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, text: usize) -> &[(u32, f32)] {
        let start = text.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.features[start..self.ends[text]]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        (0..self.len()).map(|text| self.get(text))
    }

    /// The highest feature of all texts.
    pub(crate) fn highest(&self) -> Option<usize> {
        let features = self.features.iter().map(|(feature, _)| *feature as usize);
        features.max()
    }
}

/// The neighbours in a text; an unknown word keeps its neighbours apart.
fn pairs_of(text: &[u32]) -> impl Iterator<Item = Pair> {
    let pairs = text.windows(2).map(|pair| [pair[0], pair[1]]);
    pairs.filter(|pair| !pair.contains(&UNKNOWN))
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values.into_iter()
}
