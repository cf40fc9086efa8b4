//! Rows with numbers and categories, known and unknown.

use protocol::RowErrorCode;

use super::*;

/// Features with so many texts; 0 for a number.
fn encoding(sizes: &[usize]) -> Encoding {
    let names: Vec<String> = (0..sizes.len()).map(|at| format!("f{at}")).collect();
    let texts = |size: usize| (0..size).map(|text| format!("t{text}")).collect::<Vec<_>>();
    let categories = names
        .iter()
        .cloned()
        .zip(sizes.iter().map(|size| texts(*size)));
    let categories = categories.filter(|(_, texts)| !texts.is_empty());
    Encoding::of(&names, &categories.collect())
}

fn normalisation() -> Normalisation {
    Normalisation {
        mean: vec![10.0, 0.0],
        std: vec![2.0, 1.0],
    }
}

#[test]
fn a_category_is_one_input_for_each_text() {
    let encoding = encoding(&[0, 3]);
    let inputs = encoding.inputs(vec![12.0, 2.0, 8.0, 0.0], &normalisation());
    let expected = Rows::new(vec![1.0, 0.0, 0.0, 1.0, -1.0, 1.0, 0.0, 0.0], 4);
    assert_eq!((encoding.width(), inputs), (4, expected));
}

#[test]
fn numbers_alone_are_normalised_in_place() {
    let encoding = encoding(&[0, 0]);
    let inputs = encoding.inputs(vec![12.0, 2.0], &normalisation());
    assert_eq!(inputs, Rows::new(vec![1.0, 2.0], 2));
    assert_eq!(encoding.inputs(vec![1.0], &normalisation()), None);
}

#[test]
fn a_row_with_an_unknown_category_fails_alone() {
    let encoding = encoding(&[0, 3]);
    let mut rows = FeatureRows::with_capacity(2, 5);
    for row in [
        [1.0, 0.0],
        [2.0, UNKNOWN],
        [3.0, 2.0],
        [4.0, 3.0],
        [5.0, 0.5],
    ] {
        rows.push(row.into_iter());
    }
    rows.push([f32::NAN, 1.0].into_iter());
    assert_eq!(encoding.take_unknown(&mut rows), [0, 3]);
    assert_eq!(rows.values, [1.0, 0.0, 3.0, 2.0]);
    let unknown = Some(RowErrorCode::UnknownCategory);
    let missing = Some(RowErrorCode::MissingFeatures);
    assert_eq!(
        rows.errors,
        [None, unknown, None, unknown, unknown, missing]
    );
}
