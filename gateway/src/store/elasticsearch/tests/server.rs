//! An index of its own on the server of `THROUGHLINE_TEST_ELASTICSEARCH_URL`.

use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::super::cluster::Cluster;
use super::super::settings::ClusterSettings;
use super::super::{Addresses, ElasticsearchOptions, ElasticsearchStore};

/// For a call of a test; a server on a busy machine takes its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A unique alias, and a connection to the server beside that of the store.
pub(crate) struct Scratch {
    pub(crate) addresses: Addresses,
    pub(crate) options: ElasticsearchOptions,
    cluster: Cluster,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let url = std::env::var("THROUGHLINE_TEST_ELASTICSEARCH_URL")
            .expect("THROUGHLINE_TEST_ELASTICSEARCH_URL");
        Self::at(&url)
    }

    pub(crate) fn at(url: &str) -> Self {
        let elasticsearch_index = format!("test-{}", uuid::Uuid::new_v4().simple());
        let options = ElasticsearchOptions {
            elasticsearch_index,
            ..ElasticsearchOptions::default()
        };
        let addresses: Addresses = url.parse().unwrap();
        let settings = ClusterSettings::read(Some(&addresses), &options, PATIENCE).unwrap();
        Self {
            cluster: Cluster::new(&settings).unwrap(),
            addresses,
            options,
        }
    }

    pub(crate) fn alias(&self) -> &str {
        &self.options.elasticsearch_index
    }

    pub(crate) fn store(&self) -> ElasticsearchStore {
        ElasticsearchStore::new(Some(&self.addresses), &self.options, PATIENCE).unwrap()
    }

    /// One call; an error status is a failed test. `ALIAS` in the path is the alias.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Value {
        let method = match method {
            "GET" => Method::Get,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            _ => Method::Post,
        };
        let body = (!body.is_empty()).then(|| Bytes::copy_from_slice(body.as_bytes()));
        let path = path.replace("ALIAS", self.alias());
        let answer = self
            .cluster
            .manage(method, &path, body, Instant::now() + PATIENCE)
            .await;
        let body = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_slice(&body).unwrap()
    }

    /// Makes what was written visible to searches.
    pub(crate) async fn refresh(&self) {
        self.call("POST", "ALIAS/_refresh", "").await;
    }

    /// Deletes everything that this index left on the server.
    pub(crate) async fn remove(self) {
        self.call("DELETE", "ALIAS-v1", "").await;
        self.call("DELETE", "_index_template/ALIAS", "").await;
    }
}
