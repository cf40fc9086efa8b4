//! The index behind the alias, created by whichever gateway comes first.
//!
//! Reads and writes name only the alias. A later schema gets a new index, `ALIAS-v2`, to which the
//! alias moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::error::CallError;
use crate::background::untraced;

/// For the creation of an index, which waits for its shard; on a busy cluster that takes a while.
const TIMEOUT: Duration = Duration::from_secs(30);
const SCHEMA: u32 = 1;

/// The alias, and whether it is known to lead to an index.
#[derive(Debug)]
pub(super) struct Index {
    alias: String,
    ready: AtomicBool,
    /// Held by the one task that creates the index.
    creating: tokio::sync::Mutex<()>,
}

impl Index {
    pub(super) fn new(alias: String) -> Self {
        Self {
            alias,
            ready: AtomicBool::new(false),
            creating: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Records that the index was deleted, so that the next [`Index::ensure`] looks for it again.
    pub(super) fn forget(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    /// Makes sure that the alias leads to an index. The creation goes on if the caller stops
    /// waiting.
    pub(super) async fn ensure(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        if self.is_ready() {
            return Ok(());
        }
        let (this, of) = (Arc::clone(self), Arc::clone(cluster));
        // Outside of the request's trace, so that the first request has the same trace as all
        // others.
        let work = untraced(async move { this.create(&of).await });
        let late = || CallError::TimedOut {
            node: cluster.names(),
        };
        tokio::time::timeout_at(deadline, work)
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(late)?
    }

    async fn create(&self, cluster: &Cluster) -> Result<(), CallError> {
        let _guard = self.creating.lock().await;
        if self.is_ready() {
            return Ok(());
        }
        let deadline = Instant::now() + TIMEOUT;
        if !self
            .exists(cluster, &format!("_alias/{}", self.alias), deadline)
            .await?
        {
            self.put_template(cluster, deadline).await?;
            self.put_index(cluster, deadline).await?;
        }
        self.ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn exists(
        &self,
        cluster: &Cluster,
        path: &str,
        deadline: Instant,
    ) -> Result<bool, CallError> {
        match cluster.manage(Method::Get, path, None, deadline).await {
            Ok(_) => Ok(true),
            Err(CallError::Refused { status, .. }) if status.as_u16() == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Operators may edit the template for the next index, so an existing one is never overwritten.
    async fn put_template(&self, cluster: &Cluster, deadline: Instant) -> Result<(), CallError> {
        let path = format!("_index_template/{}", self.alias);
        if self.exists(cluster, &path, deadline).await? {
            return Ok(());
        }
        let template = json!({
            "index_patterns": [format!("{}-v*", self.alias)],
            "priority": 200,
            "version": SCHEMA,
            "template": { "settings": settings(), "mappings": mappings() },
            "_meta": { "managed_by": "throughline gateway" },
        });
        cluster
            .manage(Method::Put, &path, Some(body(&template)), deadline)
            .await
            .map(drop)
    }

    /// Creates the index together with its alias. Of several gateways one succeeds; the others find
    /// it there.
    async fn put_index(&self, cluster: &Cluster, deadline: Instant) -> Result<(), CallError> {
        let (index, alias) = (format!("{}-v{SCHEMA}", self.alias), &self.alias);
        let aliases = json!({ "aliases": { alias: { "is_write_index": true } } });
        match cluster
            .manage(Method::Put, &index, Some(body(&aliases)), deadline)
            .await
        {
            Err(CallError::Refused {
                error_type: "resource_already_exists_exception",
                ..
            }) => {
                // Another gateway has just created it with its alias, or somebody has removed the
                // alias.
                let add = json!({ "index": index, "alias": alias, "is_write_index": true });
                let actions = json!({ "actions": [{ "add": add }] });
                cluster
                    .manage(Method::Post, "_aliases", Some(body(&actions)), deadline)
                    .await
                    .map(drop)
            }
            other => other.map(drop),
        }
    }
}

/// One shard holds tens of millions of predictions; it gets a replica as soon as there is a second
/// node.
fn settings() -> Value {
    json!({ "number_of_shards": 1, "auto_expand_replicas": "0-1" })
}

/// Strict, so that a document of another schema is refused and does not extend the mapping.
fn mappings() -> Value {
    let keyword = json!({ "type": "keyword" });
    // Nobody searches by this field, so it is only in the document.
    let unindexed = json!({ "type": "keyword", "index": false, "doc_values": false });
    json!({
        "dynamic": "strict",
        "_meta": { "schema": SCHEMA },
        "properties": {
            "model": keyword,
            "model_version": keyword,
            "data_id": keyword,
            "variant": keyword,
            "label": keyword,
            "confidence": { "type": "float" },
            "probabilities": { "type": "float", "index": false, "doc_values": false },
            "computed_at": { "type": "date_nanos" },
            "trace_id": keyword,
            "span_id": unindexed,
            "run_id": keyword,
        },
    })
}

fn body(value: &Value) -> Bytes {
    value.to_string().into()
}
