//! Predictions in Elasticsearch: this file and its folder are the only place that names the
//! `elasticsearch` crate.
//!
//! The crate sends and authenticates; time limits, retries, nodes that are down and spans are added
//! here. A lookup is one `_mget` and a write one `_bulk`, both shared by concurrent requests; a search
//! is one `_search`. The version of a document is the time of its computation, so that an older one never
//! replaces a newer one and a write may be repeated. A write that is refused for its version looks
//! whether a wrong clock gave the stored one its time, and then replaces it.

mod bulk;
mod cluster;
mod document;
mod error;
mod exchange;
mod index;
mod lookups;
mod node;
mod query;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use elasticsearch::http::Method;
use jiff::Timestamp;
use tokio::time::Instant;

use self::bulk::{BulkWriter, ItemOutcome};
use self::cluster::{Cluster, Endpoint};
use self::index::Index;
use self::lookups::Lookups;
use self::query::ExpiredDocument;
use self::settings::ClusterSettings;
use super::{Lookup, Page, PredictionStore, Search, StoreError, StoredPrediction, Written};

pub use self::settings::{Addresses, ElasticsearchOptions};

/// A running cluster answers within this time; one that is down must not delay the start of the
/// gateway for longer.
const START_TIMEOUT: Duration = Duration::from_secs(3);
/// For a call that deletes old predictions: no request waits for it.
const DELETE_TIMEOUT: Duration = Duration::from_secs(30);
/// Documents that one call deletes.
const DELETE_PAGE: usize = 1_000;

/// The options of Elasticsearch cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `--prediction-store elasticsearch` without addresses, or with unusable ones.
    #[error(
        "no usable address of Elasticsearch; set ELASTICSEARCH_URL to http(s)://HOST:PORT, several with commas"
    )]
    NoAddress,
    /// A file that an option names cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file that does not hold certificates.
    #[error("the file of ELASTICSEARCH_CA_CERT holds no certificate in PEM form")]
    Authority(#[source] elasticsearch::Error),
    /// A user without a password, or the reverse.
    #[error("ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD (or its file) belong together")]
    HalfUser,
    /// More than one way to authenticate.
    #[error(
        "more than one of password, API key and bearer token for Elasticsearch, or one both by value and by file"
    )]
    TwoCredentials,
    /// A secret that does not fit into a header.
    #[error("a password, API key or bearer token for Elasticsearch is empty or not plain text")]
    NoText,
    /// The HTTP client cannot be built.
    #[error("cannot set up the client of Elasticsearch")]
    Client(#[source] elasticsearch::Error),
}

/// Predictions in one index of a cluster.
#[derive(Debug)]
pub(crate) struct ElasticsearchStore {
    cluster: Arc<Cluster>,
    index: Arc<Index>,
    writer: Arc<BulkWriter>,
    lookups: Arc<Lookups>,
    search: Endpoint,
    delete: Endpoint,
    alias: String,
}

impl ElasticsearchStore {
    /// Reads the options and the files they name; it sends nothing. `limit` is how long anyone
    /// waits for a call.
    pub(crate) fn new(
        addresses: Option<&Addresses>,
        options: &ElasticsearchOptions,
        limit: Duration,
    ) -> Result<Self, SetupError> {
        let settings = ClusterSettings::read(addresses, options, limit)?;
        let cluster = Arc::new(Cluster::new(&settings)?);
        let alias = settings.alias;
        let index = Arc::new(Index::new(alias.clone()));
        let writer = BulkWriter::new(
            Arc::clone(&cluster),
            Arc::clone(&index),
            &alias,
            settings.retries,
        );
        Ok(Self {
            // A missing index holds nothing; but a shard that does not answer is not an empty page.
            search: cluster.endpoint(
                "search",
                &alias,
                "_search?ignore_unavailable=true&allow_partial_search_results=false",
            ),
            lookups: Arc::new(Lookups::new(Arc::clone(&cluster), &alias)),
            delete: cluster.endpoint("bulk", &alias, &format!("_bulk?{}", bulk::ANSWER)),
            writer: Arc::new(writer),
            cluster,
            index,
            alias,
        })
    }

    /// Creates the index if it is missing. If the cluster cannot be reached now, the first write
    /// tries again.
    pub(crate) async fn prepare(&self) {
        let (alias, nodes) = (&self.alias, self.cluster.names());
        let deadline = Instant::now() + START_TIMEOUT;
        let Err(error) = self.index.ensure(&self.cluster, deadline).await else {
            tracing::info!(name: "prediction_store.ready", "predictions are kept in {alias} of Elasticsearch at {nodes}");
            return;
        };
        // The innermost cause names what an operator has to correct: a certificate, a name, a
        // password.
        let cause = error::causes(&error).last().map(ToString::to_string);
        let cause = cause.unwrap_or_default();
        let error_type = StoreError::from(error).error_type();
        tracing::warn!(
            name: "prediction_store.unready",
            { "error.type" = error_type, error = cause },
            "cannot make sure of the index {alias} of Elasticsearch at {nodes} ({error_type}: {cause}); the first write tries again"
        );
    }

    /// Sends one call and parses its answer.
    async fn call<T>(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        timeout: Duration,
        parse: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + timeout;
        self.cluster.call(endpoint, body, deadline, parse).await
    }

    /// Deletes documents and returns how many. One that was written anew in the meantime stays.
    async fn delete(&self, expired: &[ExpiredDocument]) -> Result<u64, StoreError> {
        let body = bulk::deletions(expired);
        let parse = |answer: &[u8]| bulk::items(expired.len(), answer);
        let mut deleted = 0;
        for outcome in self.call(&self.delete, body, DELETE_TIMEOUT, parse).await? {
            match outcome {
                ItemOutcome::Done => deleted += 1,
                ItemOutcome::Needless => {}
                ItemOutcome::Failed(error) => return Err(error.into()),
            }
        }
        Ok(deleted)
    }
}

#[async_trait]
impl PredictionStore for ElasticsearchStore {
    async fn get_many(&self, lookup: Lookup) -> Result<Vec<Option<StoredPrediction>>, StoreError> {
        if lookup.is_empty() {
            return Ok(Vec::new());
        }
        self.lookups.get(lookup).await
    }

    async fn put_many(
        &self,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        if predictions.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.submit(predictions).await
    }

    async fn search(&self, search: Search) -> Result<Page, StoreError> {
        let body = query::search(&search);
        let parse = |answer: &[u8]| query::page(search.limit, answer);
        self.call(&self.search, body, self.cluster.timeout, parse)
            .await
    }

    async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError> {
        let body = query::latest_version(model, variant);
        self.call(&self.search, body, self.cluster.timeout, query::version)
            .await
    }

    /// Searches and bulk deletes, which every distribution of Elasticsearch supports.
    async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError> {
        // A search sees what was stored before the last refresh. Without the right to refresh it is
        // a little behind.
        let refresh = format!("{}/_refresh?ignore_unavailable=true", self.alias);
        let deadline = Instant::now() + DELETE_TIMEOUT;
        let refreshed = self.cluster.manage(Method::Post, &refresh, None, deadline);
        drop(refreshed.await);
        let (mut removed, mut after) = (0, None);
        loop {
            let body = query::expired(before, after.as_ref(), DELETE_PAGE);
            let expired: Vec<ExpiredDocument> = self
                .call(&self.search, body, DELETE_TIMEOUT, query::expired_found)
                .await?;
            if !expired.is_empty() {
                removed += self.delete(&expired).await?;
            }
            if expired.len() < DELETE_PAGE {
                return Ok(removed);
            }
            after = expired.into_iter().last().map(|document| document.sort);
        }
    }
}
