//! Resolves the names in a request to the rows and columns that it needs.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use protocol::feast::{Columns, OnlineRequest, Selection, Text};
use serde_json::Value;

use crate::backend::EntityKey;
use crate::error::RequestError;
use crate::limits::MAX_ROWS;
use crate::views::{FeatureRef, FeatureView, Views};

/// A request with the names as they stand in its body.
pub(crate) type Request<'a> = OnlineRequest<Vec<Text<'a>>>;

/// What to read and which columns to answer with.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The views that take part, each with one key per entity.
    pub(crate) lookups: Vec<ViewLookup>,
    /// The feature columns of the answer, in the order of the request.
    pub(crate) columns: Vec<Column>,
    full_names: bool,
}

/// One view with the entities to look up.
#[derive(Debug)]
pub(crate) struct ViewLookup {
    pub(crate) view: Arc<FeatureView>,
    pub(crate) keys: Vec<EntityKey>,
}

/// One feature of the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Column {
    /// Position among the lookups.
    pub(crate) lookup: usize,
    /// Position in the view.
    pub(crate) feature: usize,
}

impl Plan {
    pub(crate) fn new(views: &Views, request: &Request<'_>) -> Result<Self, RequestError> {
        let features = select(views, request)?;
        let rows = count_rows("entities", &request.entities)?;
        if let Some((name, _)) = request
            .entities
            .0
            .iter()
            .find(|(name, _)| !views.is_join_key(name))
        {
            return Err(RequestError::UnknownEntity(name.clone()));
        }
        let mut plan = Self {
            lookups: Vec::with_capacity(1),
            columns: Vec::with_capacity(features.len()),
            full_names: request.full_feature_names,
        };
        for FeatureRef { view, feature } in features {
            let view = &views.all()[view];
            let known = plan
                .lookups
                .iter()
                .position(|lookup| lookup.view.id == view.id);
            let lookup = known.unwrap_or(plan.lookups.len());
            if known.is_none() {
                let keys = keys(view, "entities", &request.entities, rows)?;
                plan.lookups.push(ViewLookup {
                    view: Arc::clone(view),
                    keys,
                });
            }
            plan.columns.push(Column { lookup, feature });
        }
        plan.check_names(&request.entities)?;
        Ok(plan)
    }

    /// The name of a column in the answer.
    pub(crate) fn name(&self, column: Column) -> Cow<'_, str> {
        let view = &self.lookups[column.lookup].view;
        let name = &view.features[column.feature].name;
        if self.full_names {
            format!("{}__{name}", view.name).into()
        } else {
            name.into()
        }
    }

    /// Clients look columns up by name, so of two with one name they would see only one.
    fn check_names(&self, entities: &Columns) -> Result<(), RequestError> {
        let mut taken = HashSet::with_capacity(entities.0.len() + self.columns.len());
        taken.extend(entities.0.iter().map(|(name, _)| Cow::from(name)));
        for column in &self.columns {
            if let Some(name) = taken.replace(self.name(*column)) {
                return Err(RequestError::Collision(name.into_owned()));
            }
        }
        Ok(())
    }
}

/// The number of rows in a table of a request; an error if its columns differ in length or it is
/// too long.
pub(crate) fn count_rows(field: &str, table: &Columns) -> Result<usize, RequestError> {
    let rows = table.rows().map_err(|name| {
        let message = "all lists must have the same length";
        RequestError::invalid("value_error", &[field, name], message)
    })?;
    if rows > MAX_ROWS {
        let message = format!("{rows} rows are too many; {MAX_ROWS} are allowed");
        return Err(RequestError::invalid("too_long", &[field], message));
    }
    Ok(rows)
}

/// The entity keys of a table, one per row.
pub(crate) fn keys(
    view: &FeatureView,
    field: &str,
    table: &Columns,
    rows: usize,
) -> Result<Vec<EntityKey>, RequestError> {
    let columns: Vec<&[Value]> = view
        .join_keys
        .iter()
        .map(|name| {
            table.get(name).ok_or_else(|| {
                RequestError::invalid("missing", &[field, name], "the join key is missing")
            })
        })
        .collect::<Result<_, _>>()?;
    (0..rows)
        .map(|row| {
            EntityKey::from_json(columns.iter().map(|column| &column[row])).ok_or_else(|| {
                let path = [field, &view.join_keys.join(","), &row.to_string()];
                let message = "a join key is a string, a whole number or a boolean";
                RequestError::invalid("entity_type", &path, message)
            })
        })
        .collect()
}

fn select(views: &Views, request: &Request<'_>) -> Result<Vec<FeatureRef>, RequestError> {
    match request.selection() {
        None => {
            let message = "exactly one of features and feature_service must be given";
            Err(RequestError::invalid("value_error", &[], message))
        }
        Some(Selection::Service(name)) => match views.service(name) {
            Some(features) => Ok(features.to_vec()),
            None => Err(RequestError::UnknownService(name.to_owned())),
        },
        Some(Selection::Features([])) => Err(RequestError::invalid(
            "too_short",
            &["features"],
            "at least one feature must be asked for",
        )),
        Some(Selection::Features(references)) => {
            let mut features = Vec::with_capacity(references.len());
            for reference in references {
                features.push(resolve(views, reference.as_ref())?);
            }
            Ok(features)
        }
    }
}

fn resolve(views: &Views, reference: &str) -> Result<FeatureRef, RequestError> {
    let Some((view, feature)) = reference.split_once(':') else {
        let message = format!("{reference:?} is not of the form view:feature");
        return Err(RequestError::invalid("value_error", &["features"], message));
    };
    let at = views
        .position(view)
        .ok_or_else(|| RequestError::UnknownView(view.to_owned()))?;
    let view = &views.all()[at];
    match view.feature(feature) {
        Some(feature) => Ok(FeatureRef { view: at, feature }),
        None => Err(RequestError::UnknownFeature {
            view: view.name.to_string(),
            feature: feature.to_owned(),
        }),
    }
}
