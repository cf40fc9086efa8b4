//! `feature-store delete`: deletes the rows of entities.
//!
//! A write never replaces a row with a later event time, so this is the way out for a row that was
//! dated in the far future, and for an entity that must be forgotten.

use std::io::{self, Write};
use std::process::ExitCode;

use runtime::Health;
use serde_json::Value;

use crate::StorageOptions;
use crate::backend::{BackendError, EntityKey};
use crate::views::FeatureView;

/// Options of `feature-store delete`.
#[derive(clap::Args, Clone, Debug)]
pub struct DeleteConfig {
    #[command(flatten)]
    /// Where the features are stored
    pub storage: StorageOptions,
    /// The feature view to delete from
    #[arg(long, value_name = "NAME")]
    pub view: String,
    /// The entities, each by its join key; of a view with several join keys each entity is a JSON
    /// list, such as `["AMS","JFK"]`
    #[arg(required = true, value_name = "ENTITY")]
    pub entities: Vec<String>,
}

/// Nothing, or not everything, was deleted.
#[derive(Debug, thiserror::Error)]
enum DeleteError {
    #[error(transparent)]
    Open(#[from] crate::Error),
    #[error("there is no feature view {0:?}")]
    UnknownView(String),
    #[error("{entity:?} does not identify an entity of the view, whose join keys are {join_keys}")]
    Entity { entity: String, join_keys: String },
    #[error("cannot delete")]
    Backend(#[from] BackendError),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// Entities in one call of the backend.
const BATCH: usize = 500;

/// Runs the command. A closed standard output or error is ignored.
pub(crate) fn main(config: &DeleteConfig) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let deleted = runtime
        .map_err(DeleteError::Runtime)
        .and_then(|runtime| runtime.block_on(run(config)));
    match deleted {
        Ok(deleted) => {
            let missing = config.entities.len() as u64 - deleted;
            let view = &config.view;
            let _ = writeln!(
                io::stdout(),
                "{view}: {deleted} rows deleted, {missing} were not there"
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            let causes = runtime::chain(&error);
            let _ = writeln!(io::stderr(), "feature-store delete: {causes}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: &DeleteConfig) -> Result<u64, DeleteError> {
    let (views, backend) = crate::open(&config.storage, &Health::new())?;
    let view = views
        .view(&config.view)
        .ok_or_else(|| DeleteError::UnknownView(config.view.clone()))?;
    // All are read before the first is deleted.
    let keys = config
        .entities
        .iter()
        .map(|entity| key(view, entity))
        .collect::<Result<Vec<_>, _>>()?;
    let mut deleted = 0;
    for keys in keys.chunks(BATCH) {
        deleted += backend.delete(view, keys).await?;
    }
    Ok(deleted)
}

fn key(view: &FeatureView, entity: &str) -> Result<EntityKey, DeleteError> {
    let join_keys = view.join_keys.len();
    let key = if join_keys == 1 {
        Some(entity)
            .filter(|entity| !entity.is_empty())
            .map(|entity| EntityKey::from_texts(&[entity]))
    } else {
        serde_json::from_str::<Vec<Value>>(entity)
            .ok()
            .filter(|values| values.len() == join_keys)
            .and_then(|values| EntityKey::from_json(&values))
    };
    key.ok_or_else(|| DeleteError::Entity {
        entity: entity.to_owned(),
        join_keys: view.join_keys.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::conformance::views;

    #[test]
    fn an_entity_is_the_same_as_in_a_push() {
        let views = views();
        let (one, two) = (
            views.view("everything").unwrap(),
            views.view("Order").unwrap(),
        );
        let read = |view, text| key(view, text).map(|key| key.as_str().to_owned());
        assert_eq!(read(one, "wine-0001").unwrap(), "wine-0001");
        assert_eq!(read(one, "[1]").unwrap(), "[1]");
        assert_eq!(read(two, r#"["a", 7]"#).unwrap(), r#"["a","7"]"#);
        for wrong in ["", "a", "[]", r#"["a"]"#, r#"["a", null]"#, r#"["a", 1.5]"#] {
            assert!(read(two, wrong).is_err(), "{wrong}");
        }
        assert!(read(one, "").is_err());
    }
}
