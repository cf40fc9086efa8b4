//! Tokens, and the features of a bag.

use super::*;

fn tokenizer() -> TextTokenizer {
    TextTokenizer::from_json(&vocabulary_json(["'", ".", "cafe", "don", "good", "t"])).unwrap()
}

#[test]
fn texts_become_words_in_lower_case_without_accents() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.tokens(), 7);
    let cases: [(&str, &[u32]); 7] = [
        ("Good café.", &[5, 3, 2]),
        ("DON'T", &[4, 1, 6]),
        ("good awful good", &[5, UNKNOWN, 5]),
        ("go\0od", &[5]),
        ("", &[]),
        (" \n\t\0", &[]),
        ("[UNK]", &[UNKNOWN, UNKNOWN, UNKNOWN]),
    ];
    for (text, expected) in cases {
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn words_are_split_as_the_tokenizer_splits_them() {
    let words = Words::new().unwrap();
    assert_eq!(
        words.of("Don't, Café!").unwrap(),
        ["don", "'", "t", ",", "cafe", "!"]
    );
}

#[test]
fn a_file_that_is_no_tokenizer_is_refused() {
    for json in [
        &b""[..],
        b"{}",
        b"[1]",
        b"{\"model\":{\"type\":\"WordLevel\"}}",
    ] {
        assert!(TextTokenizer::from_json(json).is_err());
    }
}

/// Rare features weigh more, and every text has the length 1.
#[test]
fn a_bag_weighs_words_and_pairs() {
    let texts: [&[u32]; 3] = [&[1, 2], &[1, 3], &[1, 1, UNKNOWN, 2]];
    let features = BagFeatures::count(4, texts.into_iter());
    assert_eq!(features.pairs(), [[1, 1], [1, 2], [1, 3]]);
    assert_eq!(features.len(), 7);
    let bags = features.bags(texts.into_iter());
    let of = |bag: usize| -> Vec<u32> { bags.get(bag).iter().map(|(id, _)| *id).collect() };
    assert_eq!(of(0), [1, 2, 5]);
    assert_eq!(
        of(2),
        [1, 2, 4],
        "an unknown word is no feature and no neighbour"
    );
    for bag in bags.iter() {
        let length: f32 = bag.iter().map(|(_, weight)| weight * weight).sum();
        assert!((length - 1.0).abs() < 1e-6, "{bag:?}");
    }
    let (common, rare) = (bags.get(0)[0].1, bags.get(0)[1].1);
    assert!(rare > common, "{rare} {common}");
}

#[test]
fn features_that_contradict_each_other_are_refused() {
    let idf = |count| vec![1.0; count];
    assert!(BagFeatures::new(3, vec![[1, 2], [2, 1]], idf(5)).is_some());
    assert_eq!(
        BagFeatures::new(3, vec![[2, 1], [1, 2]], idf(5)),
        None,
        "not sorted"
    );
    assert_eq!(
        BagFeatures::new(3, vec![[1, 3]], idf(4)),
        None,
        "an unknown token"
    );
    assert_eq!(
        BagFeatures::new(3, vec![[1, 2]], idf(5)),
        None,
        "too many weights"
    );
    assert_eq!(BagFeatures::new(1, vec![], vec![f32::NAN]), None);
}
