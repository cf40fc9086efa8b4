//! The conformance suite and the index on a real Elasticsearch; on a stub, what a real one cannot
//! be made to do: error statuses, credentials, nodes that come and go.

mod authentication;
mod documents;
mod index;
mod retries;
pub(crate) mod server;
pub(crate) mod stub;

use tokio::time::Instant;

use super::ElasticsearchOptions;
use crate::store::tests::conformance::check;
use server::{PATIENCE, Scratch};

impl Default for ElasticsearchOptions {
    /// The defaults of the command line.
    fn default() -> Self {
        Self {
            elasticsearch_url: None,
            elasticsearch_index: "predictions".to_owned(),
            elasticsearch_username: None,
            elasticsearch_password: None,
            elasticsearch_password_file: None,
            elasticsearch_api_key: None,
            elasticsearch_api_key_file: None,
            elasticsearch_bearer_token: None,
            elasticsearch_bearer_token_file: None,
            elasticsearch_ca_cert: None,
            elasticsearch_timeout: None,
            elasticsearch_retries: 3,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn elasticsearch_conforms() {
    let scratch = Scratch::new();
    let store = scratch.store();
    // Longer than a gateway waits at its start: on a busy machine the first shard of a new server
    // takes its time.
    store
        .index
        .ensure(&store.cluster, Instant::now() + PATIENCE)
        .await
        .unwrap();
    check(&store, async || scratch.refresh().await).await;
    scratch.remove().await;
}
