//! The conformance suite on a real Elasticsearch and what only it can be asked; and, on a stub, what it cannot be made to
//! show: other statuses, credentials, nodes that come and go.

mod authentication;
mod documents;
mod index;
mod retries;
pub(crate) mod server;
pub(crate) mod stub;

use super::super::conformance::check;
use server::Scratch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn elasticsearch_conforms() {
    let scratch = Scratch::new();
    let store = scratch.store();
    store.prepare().await;
    check(&store, async || scratch.refresh().await).await;
    scratch.remove().await;
}
