//! The index behind the alias: made when it is missing, by whichever gateway comes first.
//!
//! Reads and writes name the alias only. A later schema gets a new index, `ALIAS-v2`, to which the alias moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::failure::Failure;
use crate::background::untraced;

/// A new index is there when its shard is; on a busy cluster that takes a while.
const PATIENCE: Duration = Duration::from_secs(30);
const SCHEMA: u32 = 1;

/// The alias, and whether it is known to lead to an index.
#[derive(Debug)]
pub(super) struct Index {
    alias: String,
    ready: AtomicBool,
    making: tokio::sync::Mutex<()>,
}

impl Index {
    pub(super) fn new(alias: String) -> Self {
        Self {
            alias,
            ready: AtomicBool::new(false),
            making: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Somebody has deleted the index.
    pub(super) fn is_gone(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    /// Makes sure that the alias leads to an index. The work goes on if the caller stops waiting.
    pub(super) async fn ensure(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        if self.is_ready() {
            return Ok(());
        }
        let (this, of) = (Arc::clone(self), Arc::clone(cluster));
        // It belongs to no request's trace, and would make the first one differ from all others.
        let work = untraced(async move { this.make(&of).await });
        let late = || Failure::TimedOut {
            node: cluster.names(),
        };
        tokio::time::timeout_at(deadline, work)
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(late)?
    }

    async fn make(&self, cluster: &Cluster) -> Result<(), Failure> {
        let _alone = self.making.lock().await;
        if self.is_ready() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
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
    ) -> Result<bool, Failure> {
        match cluster.manage(Method::Get, path, None, deadline).await {
            Ok(_) => Ok(true),
            Err(Failure::Refused { status, .. }) if status.as_u16() == 404 => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The template is for operators: what they change in it holds for the next index. So it is never overwritten.
    async fn put_template(&self, cluster: &Cluster, deadline: Instant) -> Result<(), Failure> {
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

    /// Makes the index together with its alias. Of several gateways one succeeds, and the others find it made.
    async fn put_index(&self, cluster: &Cluster, deadline: Instant) -> Result<(), Failure> {
        let (index, alias) = (format!("{}-v{SCHEMA}", self.alias), &self.alias);
        let aliases = json!({ "aliases": { alias: { "is_write_index": true } } });
        match cluster
            .manage(Method::Put, &index, Some(body(&aliases)), deadline)
            .await
        {
            Err(Failure::Refused {
                error_type: "resource_already_exists_exception",
                ..
            }) => {
                // Made a moment ago by another gateway, alias included; or its alias was taken away, and is put back.
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

/// One shard holds tens of millions of predictions; a copy of it is made as soon as there is a second node.
fn settings() -> Value {
    json!({ "number_of_shards": 1, "auto_expand_replicas": "0-1" })
}

/// Strict, so that a document of another schema is refused instead of changing this one.
fn mappings() -> Value {
    let keyword = json!({ "type": "keyword" });
    // Nobody searches by these, so they are in the document only.
    let kept = json!({ "type": "keyword", "index": false, "doc_values": false });
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
            "span_id": kept,
            "run_id": keyword,
        },
    })
}

fn body(value: &Value) -> Bytes {
    value.to_string().into()
}
