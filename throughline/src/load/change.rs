//! `--drift` and `--missing`: how the features of new wines differ from those of the training.

use std::str::FromStr;

use crate::data_sets::WINE_FEATURES;

/// Shifts of features, from `alcohol+1.5,ph-0.2`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Drift {
    shifts: [f64; WINE_FEATURES.len()],
}

impl Drift {
    pub(super) fn of(&self, feature: usize) -> f64 {
        self.shifts[feature]
    }
}

impl FromStr for Drift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut drift = Self::default();
        for part in text.split(',').map(str::trim) {
            let sign = part.find(['+', '-']).unwrap_or(part.len());
            let (name, shift) = part.split_at(sign);
            let Some(feature) = WINE_FEATURES.iter().position(|known| *known == name) else {
                let names = WINE_FEATURES.join(", ");
                return Err(format!(
                    "there is no feature {name:?}; choose from {names}, as in alcohol+1.5"
                ));
            };
            let shift: f64 = shift.parse().unwrap_or(f64::NAN);
            if !shift.is_finite() {
                return Err(format!("{name} needs a number, as in {name}+1.5"));
            }
            drift.shifts[feature] += shift;
        }
        Ok(drift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_add_up_by_feature() {
        let drift: Drift = "alcohol+1.5, ph-0.2,alcohol+1".parse().expect("shifts");
        let tenths = [10, 8, 0].map(|feature| (drift.of(feature) * 10.0).round() as i32);
        assert_eq!(tenths, [25, -2, 0]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("sugar+1", "\"sugar\""),
            ("alcohol", "alcohol needs a number"),
            ("alcohol+", "alcohol needs a number"),
            ("alcohol+inf", "alcohol needs a number"),
            ("", "there is no feature"),
        ] {
            let error = text.parse::<Drift>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
