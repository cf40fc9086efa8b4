//! The statements on the table of predictions, and the way between its rows and
//! [`StoredPrediction`].

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params, params_from_iter};
use telemetry::SpanRef;

use super::TABLE;
use crate::store::{CLOCK_TOLERANCE, Key, Lookup, Page, Search, StoredPrediction, Written};

/// What is looked up; a search reads the key after them.
const GET: &str = "SELECT label, confidence, probabilities, computed_at, trace_id, span_id, run_id
    FROM predictions WHERE model = ?1 AND variant = ?2 AND version = ?3 AND data_id = ?4";
/// For [`insert`]; an older computation changes nothing, unless a wrong clock gave the stored one
/// its time ([`crate::store::replaces`]).
pub(super) const PUT: &str = "
    INSERT INTO predictions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT DO UPDATE SET label = excluded.label, confidence = excluded.confidence,
        probabilities = excluded.probabilities, computed_at = excluded.computed_at, trace_id = excluded.trace_id,
        span_id = excluded.span_id, run_id = excluded.run_id
    WHERE excluded.computed_at >= predictions.computed_at
        OR predictions.computed_at > excluded.computed_at + ?12";

/// All predictions of a lookup in one transaction, which shows them as of one moment and locks the
/// file only once.
pub(super) fn look_up(
    connection: &Connection,
    lookup: &Lookup,
) -> rusqlite::Result<Vec<Option<StoredPrediction>>> {
    let transaction = (lookup.len() > 1)
        .then(|| connection.unchecked_transaction())
        .transpose()?;
    let mut statement = connection.prepare_cached(GET)?;
    let mut found = Vec::with_capacity(lookup.len());
    for part in &lookup.parts {
        for data_id in &part.data_ids {
            let key = params![lookup.model, part.variant, part.version, data_id];
            let read = |row: &Row<'_>| {
                let key = Key {
                    model: Arc::clone(&lookup.model),
                    variant: Arc::clone(&part.variant),
                    version: Arc::clone(&part.version),
                    data_id: Arc::clone(data_id),
                };
                read_row(row, key)
            };
            found.push(statement.query_row(key, read).optional()?);
        }
    }
    drop(statement);
    transaction.map_or(Ok(()), rusqlite::Transaction::finish)?;
    Ok(found)
}

/// Runs [`PUT`]; a row that does not change is newer.
pub(super) fn insert(
    statement: &mut Statement<'_>,
    prediction: &StoredPrediction,
) -> rusqlite::Result<Written> {
    let probabilities = prediction.probabilities.iter();
    let probabilities: Vec<u8> = probabilities.flat_map(|p| p.to_le_bytes()).collect();
    let by = prediction.computed_by.as_ref();
    let changed = statement.execute(params![
        prediction.key.model,
        prediction.key.variant,
        prediction.key.version,
        prediction.key.data_id,
        prediction.label,
        f64::from(prediction.confidence),
        probabilities,
        prediction.computed_at.as_microsecond(),
        by.map(|by| by.trace_id.to_string()),
        by.map(|by| by.span_id.to_string()),
        prediction.run_id,
        CLOCK_TOLERANCE.as_micros() as i64,
    ])?;
    Ok(if changed > 0 {
        Written::Stored
    } else {
        Written::Superseded
    })
}

pub(super) fn search(connection: &Connection, search: &Search) -> rusqlite::Result<Page> {
    let (filter, mut values) = filter(search);
    // One more than the page holds shows whether there is a next page.
    values.push(Value::from(
        i64::try_from(search.limit).unwrap_or(i64::MAX - 1) + 1,
    ));
    let mut statement = connection.prepare_cached(&format!(
        "SELECT label, confidence, probabilities, computed_at, trace_id, span_id, run_id, model, variant, version, data_id
        FROM {TABLE} WHERE {filter}
        ORDER BY computed_at DESC, model, variant, version, data_id LIMIT ?"
    ))?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        read_row(row, read_key(row)?)
    })?;
    let predictions = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(Page::of(predictions, search.limit))
}

/// The conditions of a search, and their values in the same order.
fn filter(search: &Search) -> (String, Vec<Value>) {
    let equal = |name: &str, value: &Option<String>| {
        let value = value.clone()?;
        Some((format!("{name} = ?"), Value::from(value)))
    };
    let confidence = search.min_confidence.map(f64::from);
    let since = search.since.map(Timestamp::as_microsecond);
    let given = [
        equal("model", &search.model),
        equal("label", &search.label),
        equal("variant", &search.variant),
        confidence.map(|least| ("confidence >= ?".to_owned(), Value::from(least))),
        since.map(|since| ("computed_at >= ?".to_owned(), Value::from(since))),
    ];
    let (mut clauses, mut values): (Vec<_>, Vec<_>) = given.into_iter().flatten().unzip();
    if let Some(after) = &search.after {
        // The first comparison lets the index by time find the place; the rest breaks ties.
        clauses.push(
            "computed_at <= ? AND (computed_at < ? OR (model, variant, version, data_id) > (?, ?, ?, ?))"
                .to_owned(),
        );
        let time = after.computed_at.as_microsecond();
        values.extend([Value::from(time), Value::from(time)]);
        let key = &after.key;
        let key = [&key.model, &key.variant, &key.version, &key.data_id];
        values.extend(key.map(|part| Value::from(part.to_string())));
    }
    if clauses.is_empty() {
        clauses.push("TRUE".to_owned());
    }
    (clauses.join(" AND "), values)
}

/// The version of the newest prediction of a model's variant.
pub(super) fn latest_version(
    connection: &Connection,
    model: &str,
    variant: &str,
) -> rusqlite::Result<Option<String>> {
    // The index by time does not know variants: without this check, a variant that has nothing
    // would cost a walk over all predictions of the model.
    let any = "SELECT 1 FROM predictions WHERE model = ?1 AND variant = ?2";
    if !connection.prepare_cached(any)?.exists([model, variant])? {
        return Ok(None);
    }
    let newest = "SELECT version FROM predictions WHERE model = ?1 AND variant = ?2 ORDER BY computed_at DESC LIMIT 1";
    let mut statement = connection.prepare_cached(newest)?;
    statement
        .query_row([model, variant], |row| row.get(0))
        .optional()
}

/// Deletes the oldest rows of those that were computed before a time, at most `limit`, and returns how
/// many that were.
pub(super) fn remove_older(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    let delete =
        "DELETE FROM predictions WHERE (model, variant, version, data_id) IN (
            SELECT model, variant, version, data_id FROM predictions WHERE computed_at < ?1 ORDER BY computed_at LIMIT ?2)";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(delete)?;
    statement.execute(params![before.as_microsecond(), limit])
}

fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        model: row.get(7)?,
        variant: row.get(8)?,
        version: row.get(9)?,
        data_id: row.get(10)?,
    })
}

fn read_row(row: &Row<'_>, key: Key) -> rusqlite::Result<StoredPrediction> {
    let (probabilities, _) = row.get_ref(2)?.as_blob()?.as_chunks::<4>();
    let computed_at = Timestamp::from_microsecond(row.get(3)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, Type::Integer, Box::new(error))
    })?;
    let (trace_id, span_id) = (row.get_ref(4)?, row.get_ref(5)?);
    let ids = trace_id.as_str_or_null()?.zip(span_id.as_str_or_null()?);
    Ok(StoredPrediction {
        key,
        label: row.get(0)?,
        confidence: row.get::<_, f64>(1)? as f32,
        probabilities: probabilities
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        computed_at,
        computed_by: ids.and_then(|(trace, span)| SpanRef::parse(trace, span)),
        run_id: row.get(6)?,
    })
}
