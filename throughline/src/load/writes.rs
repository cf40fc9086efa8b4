//! Writes with known values, and whether each accepted one is there afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::new_wine::NewWine;
use super::outcome::Outcome;
use super::requests::Requests;
use super::sender::Sender;

const PAGE: usize = 100;
/// A read-back is tried again for so long as the system still restarts.
const READ_TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);
/// Ids of lost writes in the result.
const MAX_SHOWN: usize = 20;

/// The writes that were accepted.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    features: Vec<NewWine>,
    /// By variant, since the same wine has a prediction of each: when the prediction of a wine was
    /// computed, as the gateway that stored it said.
    predictions: BTreeMap<String, BTreeMap<String, String>>,
}

/// What the read-back found.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Verified {
    pub(crate) features_accepted: usize,
    pub(crate) predictions_accepted: usize,
    pub(crate) lost: usize,
    /// The first of them.
    pub(crate) lost_ids: Vec<String>,
    /// Accepted writes that could not be read back, because nobody answered.
    pub(crate) unread: usize,
}

impl Accepted {
    pub(super) fn features(&mut self, wine: NewWine) {
        self.features.push(wine);
    }

    /// Notes a prediction if the gateway promised that it is stored.
    pub(super) fn prediction(&mut self, id: &str, stored: bool, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| body["predictions"][0][key].as_str().map(str::to_owned);
        if let (Some(computed_at), Some(variant)) = (text("computed_at"), text("variant"))
            && stored
        {
            let of_variant = self.predictions.entry(variant).or_default();
            of_variant.insert(id.to_owned(), computed_at);
        }
    }

    /// Reads everything back.
    pub(super) async fn verify(
        &self,
        requests: &Requests,
        sender: &Sender,
    ) -> anyhow::Result<Verified> {
        let mut verified = Verified {
            features_accepted: self.features.len(),
            predictions_accepted: self.predictions.values().map(BTreeMap::len).sum(),
            ..Verified::default()
        };
        for page in self.features.chunks(PAGE) {
            let ids: Vec<&str> = page.iter().map(|wine| wine.id.as_str()).collect();
            match read(sender, || requests.read_features(&ids)).await? {
                None => verified.unread += page.len(),
                Some(answer) => verified.compare_features(page, &answer),
            }
        }
        for (variant, predictions) in &self.predictions {
            let predictions = predictions.iter();
            let predictions: Vec<(&str, &str)> = predictions
                .map(|(id, computed_at)| (id.as_str(), computed_at.as_str()))
                .collect();
            for page in predictions.chunks(PAGE) {
                let ids: Vec<&str> = page.iter().map(|(id, _)| *id).collect();
                match read(sender, || requests.read_predictions(&ids, variant)).await? {
                    None => verified.unread += page.len(),
                    Some(answer) => verified.compare_predictions(page, &answer),
                }
            }
        }
        Ok(verified)
    }
}

impl Verified {
    fn compare_features(&mut self, page: &[NewWine], answer: &Value) {
        // The first column is the join key; the others are in the order asked.
        let names: Vec<&str> = answer["metadata"]["feature_names"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (row, wine) in page.iter().enumerate() {
            let stored = |name: &str| {
                let column = names.iter().position(|other| *other == name);
                column.map(|column| &answer["results"][column]["values"][row])
            };
            // JSON may change the last bit of a number.
            let same = |(name, value): (&str, Option<f64>)| match (stored(name), value) {
                (Some(stored), Some(value)) => stored
                    .as_f64()
                    .is_some_and(|stored| (stored - value).abs() < 1e-9),
                (stored, None) => stored.is_some_and(Value::is_null),
                (None, Some(_)) => false,
            };
            if !wine.values().all(same) {
                self.lose(&wine.id);
            }
        }
    }

    fn compare_predictions(&mut self, page: &[(&str, &str)], answer: &Value) {
        for (row, (id, computed_at)) in page.iter().enumerate() {
            let entry = &answer["predictions"][row];
            let same = entry["cached"] == true && entry["computed_at"] == **computed_at;
            if !same {
                self.lose(id);
            }
        }
    }

    fn lose(&mut self, id: &str) {
        self.lost += 1;
        if self.lost_ids.len() < MAX_SHOWN {
            self.lost_ids.push(id.to_owned());
        }
    }
}

/// The answer to a read, tried again while the system does not answer it; `None` if it never does.
/// An answer that has none of the ids is one, too: 404 or 504.
async fn read(
    sender: &Sender,
    request: impl Fn() -> anyhow::Result<Request<Bytes>>,
) -> anyhow::Result<Option<Value>> {
    for _ in 0..READ_TRIES {
        let answer = sender.send(request()?).await;
        if matches!(answer.outcome, Outcome::Status(200 | 404 | 422 | 504)) {
            return Ok(Some(
                serde_json::from_slice(&answer.body).unwrap_or_default(),
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::change::Drift;
    use super::super::new_wine::NewWines;
    use super::*;
    use crate::data_sets::WINE_FEATURES;

    fn wines(count: usize) -> Vec<NewWine> {
        let mut wines = NewWines::new(Drift::default());
        (0..count).map(|_| wines.another(1, false)).collect()
    }

    fn stored(wines: &[NewWine]) -> Value {
        let columns = WINE_FEATURES.iter().enumerate().map(|(at, _)| {
            let column = wines
                .iter()
                .map(|wine| wine.values().nth(at).map(|(_, value)| value));
            json!({"values": column.collect::<Vec<_>>()})
        });
        let columns: Vec<Value> = columns.collect();
        json!({"metadata": {"feature_names": WINE_FEATURES}, "results": columns})
    }

    #[test]
    fn a_feature_that_is_missing_or_another_is_lost() {
        let wines = wines(3);
        let mut whole = Verified::default();
        whole.compare_features(&wines, &stored(&wines));
        assert_eq!(whole, Verified::default());

        let mut answer = stored(&wines);
        answer["results"][0]["values"][1] = Value::Null;
        answer["results"][10]["values"][2] = json!(9.5);
        let mut verified = Verified::default();
        verified.compare_features(&wines, &answer);
        assert_eq!(
            verified.lost_ids,
            [wines[1].id.clone(), wines[2].id.clone()]
        );
    }

    #[test]
    fn a_prediction_that_was_computed_again_is_lost() {
        let page = [("a", "t1"), ("b", "t2"), ("c", "t3")];
        let answer = json!({"predictions": [
            {"cached": true, "computed_at": "t1"},
            {"cached": true, "computed_at": "t9"},
            {"error": {"code": "not_stored"}},
        ]});
        let mut verified = Verified::default();
        verified.compare_predictions(&page, &answer);
        assert_eq!(
            (verified.lost, verified.lost_ids),
            (2, vec!["b".to_owned(), "c".to_owned()])
        );
    }

    #[test]
    fn only_promised_predictions_are_expected() {
        let entry = json!({"computed_at": "t1", "variant": "primary"});
        let body = json!({ "predictions": [entry] }).to_string();
        let mut accepted = Accepted::default();
        accepted.prediction("a", true, body.as_bytes());
        accepted.prediction("b", false, body.as_bytes());
        let stored = &accepted.predictions["primary"];
        assert_eq!(stored.keys().collect::<Vec<_>>(), ["a"]);
    }
}
