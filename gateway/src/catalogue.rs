//! The models, their current versions and what they take: learned from the model service, never within a request's trace.
//!
//! A prediction is found by the model's current version, so a hit needs to know it. The catalogue asks every
//! [`Config::model_refresh`](crate::Config), hears of it from each inference answer, and while the model service has never
//! been reached takes the version of the newest stored prediction. What was known stays known while the service is down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use protocol::oip::ModelMetadata;
use serving::Health;
use telemetry::Context;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::error::ApiError;
use crate::model::{ModelClient, ModelError};
use crate::routes::Routes;
use crate::store::watched::WatchedStore;

/// For one read of the model service; it is answered from memory there.
const PATIENCE: Duration = Duration::from_secs(1);
/// More names than this in a list are a broken service, not models.
const MAX_MODELS: usize = 1_000;
const MAX_NAME: usize = 128;

/// What is known of the models; cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: ModelClient,
    routes: Arc<Routes>,
    store: WatchedStore,
    health: Health,
    models: RwLock<BTreeMap<String, Arc<Known>>>,
    asked: Mutex<Option<Instant>>,
    asking: tokio::sync::Mutex<()>,
    down: AtomicBool,
}

/// What is known of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The version that answers now; empty for a service without versions.
    pub(crate) version: String,
    /// All versions that can answer.
    pub(crate) versions: Vec<String>,
    /// It has an input `data_id`.
    pub(crate) takes_data_ids: bool,
    /// It has an input `text`.
    pub(crate) takes_texts: bool,
    /// It can answer, as far as is known.
    pub(crate) ready: bool,
}

impl Catalogue {
    pub(crate) fn new(client: ModelClient, routes: Arc<Routes>, store: WatchedStore, health: Health) -> Self {
        let inner = Inner {
            client,
            routes,
            store,
            health,
            models: RwLock::default(),
            asked: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            down: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What is known of `model`; asks the model service, and then the store, about one that was never heard of.
    pub(crate) async fn resolve(&self, model: &str) -> Result<Arc<Known>, ApiError> {
        if let Some(known) = self.inner.get(model) {
            return Ok(known);
        }
        if !is_name(model) {
            return Err(ApiError::UnknownModel { model: model.to_owned() });
        }
        let (inner, name) = (Arc::clone(&self.inner), model.to_owned());
        let error = match quietly(async move { inner.learn(&name).await }).await {
            Some(Ok(known)) => return Ok(known),
            Some(Err(error)) if error.is_unknown_model() => {
                return Err(ApiError::UnknownModel { model: model.to_owned() });
            }
            Some(Err(error)) => error,
            None => ModelError::Abandoned,
        };
        // A store that is down has told so itself; here it knows no version.
        match self.inner.store.latest_version(model).await.ok().flatten() {
            Some(version) => Ok(self.inner.assume(model, version)),
            None => Err(ApiError::Model(Arc::new(error))),
        }
    }

    /// An inference answer told its version. `asked` is what was known when the call began: news that came in between, from
    /// a service that has loaded another version, is not overwritten by an old answer.
    pub(crate) fn answered(&self, model: &str, asked: &str, version: &str) {
        if asked == version {
            return;
        }
        let mut models = self.inner.models.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models.get_mut(model).filter(|known| known.version == asked) {
            version.clone_into(&mut Arc::make_mut(known).version);
        }
    }

    /// All models, after asking again if the last answer is older than `age`.
    pub(crate) async fn all(&self, age: Duration) -> BTreeMap<String, Arc<Known>> {
        let fresh = self.inner.last_asked().is_some_and(|asked| asked.elapsed() < age);
        if !fresh {
            self.refresh().await;
        }
        self.inner.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the model service answered when it was last asked.
    pub(crate) fn is_down(&self) -> bool {
        self.inner.down.load(Ordering::Relaxed)
    }

    /// Asks the model service for everything.
    pub(crate) async fn refresh(&self) {
        let (inner, since) = (Arc::clone(&self.inner), Instant::now());
        match quietly(async move { inner.ask(since).await }).await {
            Some(Err(error)) if error.is_outage() => self.inner.went_down(&error),
            Some(Ok(true) | Err(_)) => self.inner.came_up(),
            Some(Ok(false)) | None => {}
        }
    }

    /// Asks again and again, for ever.
    pub(crate) async fn keep_fresh(&self, every: Duration) {
        let mut clock = tokio::time::interval(every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        clock.tick().await;
        loop {
            clock.tick().await;
            self.refresh().await;
        }
    }
}

impl Inner {
    fn get(&self, model: &str) -> Option<Arc<Known>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    fn put(&self, model: &str, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        self.models.write().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned(), Arc::clone(&known));
        known
    }

    /// A model that is known from its stored predictions only; the next answer of the model service replaces it.
    fn assume(&self, model: &str, version: String) -> Arc<Known> {
        let versions = vec![version.clone()];
        self.put(model, Known { version, versions, takes_data_ids: true, takes_texts: true, ready: false })
    }

    /// Asks for the list of models and for each model; one caller at a time, since all would ask the same. False when
    /// another one has asked after `since`.
    async fn ask(&self, since: Instant) -> Result<bool, ModelError> {
        let _alone = self.asking.lock().await;
        if self.last_asked().is_some_and(|asked| asked >= since) {
            return Ok(false);
        }
        let asked = self.ask_each().await;
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        asked.map(|()| true)
    }

    fn last_asked(&self) -> Option<Instant> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_each(&self) -> Result<(), ModelError> {
        let listed = self.client.list(self.routes.default_variant(), PATIENCE).await;
        let listed = match listed {
            Ok(names) => names,
            // Not every service can list its models; those that requests have named are asked about below.
            Err(ModelError::Answered { status, .. }) if status.is_client_error() => Vec::new(),
            Err(error) => return Err(error),
        };
        let known = self.models.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect::<Vec<_>>();
        let names: BTreeSet<String> =
            listed.into_iter().filter(|name| is_name(name)).take(MAX_MODELS).chain(known).collect();
        for name in names {
            match self.learn(&name).await {
                Ok(_) => {}
                Err(error) if error.is_unknown_model() => {
                    self.models.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
                }
                Err(error) => self.mark_unready(&name, &error),
            }
        }
        Ok(())
    }

    async fn learn(&self, model: &str) -> Result<Arc<Known>, ModelError> {
        let variant = self.routes.choose(model);
        let metadata = self.client.metadata(variant, model, PATIENCE).await?;
        let ready = self.client.is_ready(variant, model, PATIENCE).await;
        Ok(self.put(model, Known::from_metadata(metadata, ready)))
    }

    fn mark_unready(&self, model: &str, error: &ModelError) {
        tracing::debug!(name: "model.unready", { "ml.model_name" = model, "error.type" = error.code() }, "model {model} is not ready");
        if let Some(known) = self.models.write().unwrap_or_else(PoisonError::into_inner).get_mut(model) {
            Arc::make_mut(known).ready = false;
        }
    }

    fn went_down(&self, error: &ModelError) {
        for known in
            self.models.write().unwrap_or_else(PoisonError::into_inner).values_mut().filter(|known| known.ready)
        {
            Arc::make_mut(known).ready = false;
        }
        if !self.down.swap(true, Ordering::Relaxed) {
            self.health.detail(
                "model_service",
                Some(format!("down ({}): only stored predictions are answered", error.code())),
            );
            tracing::warn!(
                name: "model_service.down",
                { "error.type" = error.code() },
                "the model service is down ({}): only stored predictions are answered",
                error.code()
            );
        }
    }

    fn came_up(&self) {
        if self.down.swap(false, Ordering::Relaxed) {
            self.health.detail("model_service", None);
            tracing::info!(name: "model_service.up", "the model service answers");
        }
    }
}

impl Known {
    fn from_metadata(metadata: ModelMetadata, ready: bool) -> Self {
        let has = |input: &str| metadata.inputs.iter().any(|tensor| tensor.name == input);
        Self {
            version: newest(&metadata.versions).unwrap_or_default(),
            takes_data_ids: has("data_id"),
            takes_texts: has("text"),
            versions: metadata.versions,
            ready,
        }
    }
}

/// Whether a text can name a model: it becomes a part of the model service's paths, where `..` or a slash would lead away.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    text.len() <= MAX_NAME && text.bytes().all(plain) && !text.starts_with('.') && !text.is_empty()
}

/// The version that a service answers with unless told otherwise: the highest number, or the last of other names.
fn newest(versions: &[String]) -> Option<String> {
    let highest = versions.iter().filter_map(|version| Some((version.parse::<u64>().ok()?, version))).max();
    highest.map(|(_, version)| version).or(versions.last()).cloned()
}

/// Runs what no client asked for: without spans, which would each be a trace of its own, and without an exception record
/// each time that the service is down, which [`Inner::went_down`] tells once. `None` when the runtime is stopping.
pub(crate) async fn quietly<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let silent = Context::new().with_telemetry_suppressed();
    let work = work.with_subscriber(NoSubscriber::default());
    telemetry::span::with_context(&silent, || telemetry::task::spawn(work)).await.ok()
}
