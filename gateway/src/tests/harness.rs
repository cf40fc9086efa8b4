//! One gateway with its fake model service, and a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use runtime::{ProcessOptions, Shutdown, Trigger};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::fake::Fake;
use super::stores::Troubled;
use crate::keys::KeyOptions;
use crate::{Addresses, Config, ElasticsearchOptions, StoreAddress};

/// The settings of a test's gateway.
pub(crate) struct Setup {
    pub(crate) ttl: Option<Duration>,
    pub(crate) process: ProcessOptions,
    pub(crate) store: Arc<Troubled>,
    pub(crate) store_timeout: Duration,
    /// Use Elasticsearch instead of `store`, with the real time.
    pub(crate) elasticsearch: Option<(Addresses, ElasticsearchOptions)>,
    /// Stop the model service before the gateway starts.
    pub(crate) model_down: bool,
    /// More model services, as `NAME=URL`.
    pub(crate) services: Vec<String>,
    pub(crate) keys: KeyOptions,
    pub(crate) quality_window: u32,
    /// The routes file.
    pub(crate) routes: Option<PathBuf>,
}

/// A running gateway; it stops when it is dropped.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) fake: Fake,
    pub(crate) store: Arc<Troubled>,
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
    seconds: Arc<AtomicI64>,
    _stop: Trigger,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            ttl: None,
            process: ProcessOptions::default(),
            store: Troubled::new(),
            store_timeout: Duration::from_secs(5),
            elasticsearch: None,
            model_down: false,
            services: Vec::new(),
            keys: KeyOptions::default(),
            quality_window: 4,
            routes: None,
        }
    }
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a client of the tests, outside the system"
    )]
    pub(crate) async fn with(setup: Setup) -> Self {
        let mut fake = Fake::start().await;
        if setup.model_down {
            fake.stop().await;
        }
        let real = setup.elasticsearch.is_some();
        let (prediction_store, elasticsearch) = match setup.elasticsearch {
            Some((nodes, options)) => (StoreAddress::Elasticsearch(Some(nodes)), options),
            None => (
                StoreAddress::Sqlite("unused".into()),
                ElasticsearchOptions::default(),
            ),
        };
        let mut model_service = vec![format!("http://{}/", fake.address).parse().unwrap()];
        model_service.extend(
            setup
                .services
                .iter()
                .map(|service| service.parse().unwrap()),
        );
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            prediction_store,
            model_service,
            routes: setup.routes.clone(),
            routes_refresh: Duration::from_millis(20),
            prediction_ttl: setup.ttl,
            prediction_store_timeout: setup.store_timeout,
            model_refresh: Duration::from_millis(20),
            max_waiting: None,
            quality_window: setup.quality_window,
            allow_faults: false,
            keys: setup.keys,
            tls_client: runtime::TlsClientOptions::default(),
            elasticsearch,
            process: setup.process,
        };
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, shutdown) = Shutdown::pair();
        let seconds = Arc::new(AtomicI64::new(0));
        let time = Arc::clone(&seconds);
        let start: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let clock =
            Arc::new(move || start + SignedDuration::from_secs(time.load(Ordering::Relaxed)));
        let store = Arc::clone(&setup.store);
        telemetry::task::spawn(async move {
            let ran = if real {
                crate::run(config, listener, shutdown).await
            } else {
                crate::run_with(config, store, clock, listener, shutdown).await
            };
            ran.unwrap();
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        let this = Self {
            url,
            fake,
            store: setup.store,
            client,
            seconds,
            _stop: stop,
        };
        this.eventually("ready", async || this.get("/readyz").await.status == 200)
            .await;
        this
    }

    /// Moves the gateway's clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a client of the tests, outside the system"
    )]
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        Reply {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(self.request("GET", path, headers, Bytes::new()))
            .await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        self.send(self.request("POST", path, headers, body.into()))
            .await
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).unwrap()
    }

    /// Asks for predictions of wines.
    pub(crate) async fn predict(&self, ids: &[&str]) -> Reply {
        self.predict_with(ids, "").await
    }

    /// The same with a `Cache-Control`.
    pub(crate) async fn predict_with(&self, ids: &[&str], cache_control: &str) -> Reply {
        let body = json!({"model": "wine_quality", "data_ids": ids}).to_string();
        let headers = [("cache-control", cache_control)];
        self.post(
            "/v1/predictions",
            if cache_control.is_empty() {
                &[]
            } else {
                &headers
            },
            body,
        )
        .await
    }

    /// Waits until the model service has got this many inference calls.
    pub(crate) async fn until_called(&self, times: usize) {
        self.eventually("the inference call arrives", async || {
            self.fake.calls().len() == times
        })
        .await;
    }

    /// Waits until the store has been asked this many times.
    pub(crate) async fn until_looked_up(&self, times: usize) {
        self.eventually("the store is asked", async || {
            self.store.lookups.lock().unwrap().len() == times
        })
        .await;
    }

    /// Waits until a condition holds; fails after 10 s.
    pub(crate) async fn eventually(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition().await {
            assert!(Instant::now() < end, "not within 10 s: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    /// A field of each entry, in order.
    pub(crate) fn each(&self, field: &str) -> Vec<Value> {
        self.json()["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry[field].clone())
            .collect()
    }

    /// Checks that this is a problem of RFC 9457 and returns its code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        let code = problem["code"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("urn:throughline:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert!(
            !problem["title"].as_str().unwrap().is_empty()
                && !problem["detail"].as_str().unwrap().is_empty()
        );
        code
    }
}
