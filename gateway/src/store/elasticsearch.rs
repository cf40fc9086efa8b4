//! Predictions in Elasticsearch: this file and its folder are the only place that names the `elasticsearch` crate.
//!
//! The crate sends and authenticates. What it leaves out stands here: time limits, retries, nodes that are down, spans. A
//! lookup is one `_mget`, a store one `_bulk` that concurrent requests share, a search one `_search`. The version of a
//! document is the time of its computation, so that an older one never replaces a newer one, and a write may be repeated.

mod bulk;
mod cluster;
mod document;
mod failure;
mod index;
mod node;
mod query;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use elasticsearch::http::Method;
use jiff::Timestamp;
use tokio::time::Instant;

use self::bulk::{Bulks, Outcome};
use self::cluster::{Call, Cluster, Endpoint};
use self::index::Index;
use self::query::Old;
use self::settings::Settings;
use super::{Lookup, Page, PredictionStore, Search, StoreError, StoredPrediction};

pub use self::settings::{Addresses, ElasticsearchOptions};

/// A cluster that is there answers within this time; one that is not must not hold the start of the gateway.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// For a call that removes what is too old: no request waits for it.
const TIDY_PATIENCE: Duration = Duration::from_secs(30);
/// Documents that one call removes.
const TIDY_PAGE: usize = 1_000;

/// The options of Elasticsearch cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `--prediction-store elasticsearch` alone, or addresses that are none.
    #[error(
        "no usable address of Elasticsearch; set ELASTICSEARCH_URL to http(s)://HOST:PORT, several with commas"
    )]
    NoAddress,
    /// A file that an option names.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Certificates that are none.
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
    /// A secret that fits into no header.
    #[error("a password, API key or bearer token for Elasticsearch is empty or no plain text")]
    NoText,
    /// No HTTP client.
    #[error("cannot set up the client of Elasticsearch")]
    Client(#[source] elasticsearch::Error),
}

/// Predictions in one index of a cluster.
#[derive(Debug)]
pub(crate) struct ElasticsearchStore {
    cluster: Arc<Cluster>,
    index: Arc<Index>,
    bulks: Arc<Bulks>,
    mget: Endpoint,
    search: Endpoint,
    tidy: Endpoint,
    alias: String,
}

impl ElasticsearchStore {
    /// Reads the options and the files they name; it sends nothing. `limit` is how long anyone waits for a call.
    pub(crate) fn new(
        addresses: Option<&Addresses>,
        options: &ElasticsearchOptions,
        limit: Duration,
    ) -> Result<Self, SetupError> {
        let settings = Settings::read(addresses, options, limit)?;
        let cluster = Arc::new(Cluster::new(&settings)?);
        let alias = settings.alias;
        let index = Arc::new(Index::new(alias.clone()));
        let bulks = Bulks::new(
            Arc::clone(&cluster),
            Arc::clone(&index),
            &alias,
            settings.retries,
        );
        Ok(Self {
            // An index that is not there yet holds nothing; but a shard that does not answer is no empty page.
            search: cluster.endpoint(
                "search",
                &alias,
                "_search?ignore_unavailable=true&allow_partial_search_results=false",
            ),
            mget: cluster.endpoint("mget", &alias, "_mget"),
            tidy: cluster.endpoint("bulk", &alias, &format!("_bulk?{}", bulk::ANSWER)),
            bulks: Arc::new(bulks),
            cluster,
            index,
            alias,
        })
    }

    /// Makes the index if it is missing. A cluster that cannot be reached now is asked again by the first write.
    pub(crate) async fn prepare(&self) {
        let (alias, nodes) = (&self.alias, self.cluster.names());
        match self
            .index
            .ensure(&self.cluster, Instant::now() + START_PATIENCE)
            .await
        {
            Ok(()) => {
                tracing::info!(name: "prediction_store.ready", "predictions are kept in {alias} of Elasticsearch at {nodes}");
            }
            Err(failure) => {
                // The innermost cause is the one that tells an operator what to mend: a certificate, a name, a password.
                let cause = innermost(&failure).to_string();
                let error_type = StoreError::from(failure).error_type();
                tracing::warn!(
                    name: "prediction_store.unready",
                    { "error.type" = error_type, error = cause },
                    "cannot make sure of the index {alias} of Elasticsearch at {nodes} ({error_type}: {cause}); the first write tries again"
                );
            }
        }
    }

    /// One call of a search, and what its answer means.
    async fn find<T>(
        &self,
        body: Bytes,
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.call(&self.search, body, self.cluster.patience, read)
            .await
    }

    async fn call<T>(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        patience: Duration,
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let call: Call = self.cluster.start(endpoint);
        let sent = self
            .cluster
            .send(endpoint, &call, body, Instant::now() + patience)
            .await;
        sent.describe(&call, sent.resent);
        let result = sent
            .result
            .map_err(StoreError::from)
            .and_then(|answer| read(&answer.body));
        if let Err(error) = &result {
            call.span.fail(error, error.error_type());
        }
        result
    }
}

#[async_trait]
impl PredictionStore for ElasticsearchStore {
    async fn get_many(&self, lookup: Lookup) -> Result<Vec<Option<StoredPrediction>>, StoreError> {
        if lookup.is_empty() {
            return Ok(Vec::new());
        }
        let body = query::lookup(&lookup);
        self.call(&self.mget, body, self.cluster.patience, |body| {
            query::found(lookup, body)
        })
        .await
    }

    async fn put_many(
        &self,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        if predictions.is_empty() {
            return Ok(Vec::new());
        }
        self.bulks.submit(predictions).await
    }

    async fn search(&self, search: Search) -> Result<Page, StoreError> {
        self.find(query::search(&search), |body| {
            query::page(search.limit, body)
        })
        .await
    }

    async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError> {
        self.find(query::latest_version(model, variant), query::version)
            .await
    }

    /// By search and bulk delete, which every distribution has and which tells a document that was written anew apart.
    async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError> {
        // A search sees what was stored before the last refresh. Without the right to ask for one it is only a little behind.
        let refresh = format!("{}/_refresh?ignore_unavailable=true", self.alias);
        drop(
            self.cluster
                .manage(Method::Post, &refresh, None, Instant::now() + TIDY_PATIENCE)
                .await,
        );
        let (mut removed, mut after) = (0, None);
        loop {
            let body = query::older(before, after.as_ref(), TIDY_PAGE);
            let old = self
                .call(&self.search, body, TIDY_PATIENCE, query::old)
                .await?;
            let Some(last) = old.last() else {
                return Ok(removed);
            };
            let (count, end) = (old.len(), last.sort.clone());
            let mut lines = Vec::new();
            for Old {
                index, id, version, ..
            } in &old
            {
                bulk::delete(&mut lines, index, id, *version);
            }
            let outcomes = self
                .call(&self.tidy, lines.into(), TIDY_PATIENCE, |body| {
                    bulk::items(count, body)
                })
                .await?;
            for outcome in outcomes {
                match outcome {
                    Outcome::Done => removed += 1,
                    Outcome::Needless => {}
                    Outcome::Failed(failure) => return Err(failure.into()),
                }
            }
            if count < TIDY_PAGE {
                return Ok(removed);
            }
            after = Some(end);
        }
    }
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost
}
