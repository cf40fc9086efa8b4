//! The models, their variants, the current versions and what they take: learned from the model services, never within a
//! request's trace.
//!
//! A prediction is found by the current version of a variant, so a hit needs to know it. The catalogue asks every service
//! again and again, hears of a version from each inference answer, and while a service has never been reached takes the
//! version of the newest stored prediction. What was known stays known while a service is down.

mod outages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use runtime::Health;
use telemetry::Context;
use tokio::task::JoinHandle;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use self::outages::Outages;
use crate::model::{Metadata, ModelClient, ModelError};
use crate::routes::watch::SharedRoutes;
use crate::routes::{Routes, Variant};
use crate::store::watched::WatchedStore;

/// For one read of a model service; it is answered from memory there.
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
    routes: SharedRoutes,
    store: WatchedStore,
    /// By model, the variants that were heard of.
    models: RwLock<Models>,
    outages: Outages,
    asked: Mutex<Option<Instant>>,
    asking: tokio::sync::Mutex<()>,
}

type Models = BTreeMap<String, Vec<Arc<Known>>>;

/// What is known of one variant of one model.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The variant, and where it was asked.
    pub(crate) variant: Variant,
    /// The version that answers now; empty for a service without versions.
    pub(crate) version: String,
    /// The version was told by an inference answer, which is the only place where some services tell it.
    by_answer: bool,
    /// All versions that can answer.
    pub(crate) versions: Vec<String>,
    pub(crate) takes: Takes,
    /// It can answer, as far as is known.
    pub(crate) ready: bool,
}

/// What a prediction can be asked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Takes {
    /// It has an input `data_id`.
    pub(crate) data_ids: bool,
    /// It has an input `text`.
    pub(crate) texts: bool,
}

impl Takes {
    /// What any of several variants takes.
    pub(crate) fn any<'a>(variants: impl Iterator<Item = &'a Arc<Known>>) -> Self {
        variants.fold(Self::default(), |all, known| Self {
            data_ids: all.data_ids || known.takes.data_ids,
            texts: all.texts || known.takes.texts,
        })
    }
}

impl Catalogue {
    pub(crate) fn new(
        client: ModelClient,
        routes: SharedRoutes,
        store: WatchedStore,
        health: Health,
    ) -> Self {
        let inner = Inner {
            client,
            routes,
            store,
            models: RwLock::default(),
            outages: Outages::new(health),
            asked: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What is known of a variant of `model`, if anything.
    pub(crate) fn get(&self, model: &str, variant: &Variant) -> Option<Arc<Known>> {
        find(self.inner.models().get(model)?, variant).cloned()
    }

    /// The same; asks the model service, and then the store, about one that was never heard of.
    pub(crate) async fn resolve(
        &self,
        model: &str,
        variant: &Variant,
    ) -> Result<Arc<Known>, Arc<ModelError>> {
        if let Some(known) = self.get(model, variant) {
            return Ok(known);
        }
        // A service that lets everybody wait is not waited for by each request.
        let error = if let Some(error) = self.inner.outages.silent(variant) {
            error
        } else {
            let (inner, name, of) = (Arc::clone(&self.inner), model.to_owned(), variant.clone());
            match quietly(async move { inner.learn(&name, &of).await }).await {
                Some(Ok(known)) => return Ok(known),
                Some(Err(error)) if error.is_unknown_model() => return Err(Arc::new(error)),
                Some(Err(error)) => Arc::new(error),
                None => Arc::new(ModelError::Abandoned),
            }
        };
        // A store that is down has told so itself; here it knows no version.
        match self
            .inner
            .store
            .latest_version(model, &variant.name)
            .await
            .ok()
            .flatten()
        {
            Some(version) => Ok(self.inner.assume(model, variant, version)),
            None => Err(error),
        }
    }

    /// An inference answer told its version. `asked` is what was known when the call began: news that came in between, from
    /// a service that has loaded another version, is not overwritten by an old answer.
    pub(crate) fn answered(&self, model: &str, variant: &Variant, asked: &str, version: &str) {
        if asked == version {
            return;
        }
        if let Some(variants) = self.inner.models_mut().get_mut(model) {
            let known = variants
                .iter_mut()
                .find(|known| known.variant.is_at(variant) && known.version == asked);
            if let Some(known) = known.map(Arc::make_mut) {
                version.clone_into(&mut known.version);
                known.by_answer = true;
            }
        }
    }

    /// All models, after asking again if the last answer is older than `age`.
    pub(crate) async fn all(&self, age: Duration) -> Models {
        let fresh = self
            .inner
            .last_asked()
            .is_some_and(|asked| asked.elapsed() < age);
        if !fresh {
            self.refresh().await;
        }
        self.inner.models().clone()
    }

    /// Whether no model service answered when it was last asked.
    pub(crate) fn is_down(&self) -> bool {
        self.inner
            .outages
            .are_all(&self.inner.routes.load().services())
    }

    /// Asks the model services for everything, all at the same time; one caller at a time, since all would ask the same.
    pub(crate) async fn refresh(&self) {
        let since = Instant::now();
        let _alone = self.inner.asking.lock().await;
        if self.inner.last_asked().is_some_and(|asked| asked >= since) {
            return;
        }
        let routes = self.inner.routes.load();
        let services = routes.services();
        let ask = |service: &Variant| {
            let (inner, routes, service) = (
                Arc::clone(&self.inner),
                Arc::clone(&routes),
                service.clone(),
            );
            spawn_quietly(async move { inner.ask(&routes, &service).await })
        };
        let answers: Vec<_> = services.iter().map(ask).collect();
        for (service, answer) in services.iter().zip(answers) {
            match answer.await {
                Ok(Ok(())) => self.inner.outages.end(service, &services),
                Ok(Err(error)) => {
                    self.inner
                        .models_mut()
                        .values_mut()
                        .for_each(|variants| unready(variants, service));
                    self.inner.outages.begin(service, error, &services);
                }
                // The runtime is stopping.
                Err(_) => {}
            }
        }
        self.inner.keep_only(&routes, &services);
        *self
            .inner
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
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
    fn models(&self) -> RwLockReadGuard<'_, Models> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn models_mut(&self) -> RwLockWriteGuard<'_, Models> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, model: &str, mut known: Known) -> Arc<Known> {
        let mut models = self.models_mut();
        let variants = models.entry(model.to_owned()).or_default();
        if let Some(old) =
            find(variants, &known.variant).filter(|old| old.by_answer && known.versions.is_empty())
        {
            old.version.clone_into(&mut known.version);
            known.by_answer = true;
        }
        variants.retain(|old| !old.variant.is_at(&known.variant));
        let known = Arc::new(known);
        variants.push(Arc::clone(&known));
        known
    }

    /// A variant that is known from its stored predictions only; the next answer of the model service replaces it.
    fn assume(&self, model: &str, variant: &Variant, version: String) -> Arc<Known> {
        let (variant, versions) = (variant.clone(), vec![version.clone()]);
        let takes = Takes {
            data_ids: true,
            texts: true,
        };
        self.put(
            model,
            Known {
                variant,
                version,
                by_answer: false,
                versions,
                takes,
                ready: false,
            },
        )
    }

    fn last_asked(&self) -> Option<Instant> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one service for its list of models, and for each model that it is to serve.
    async fn ask(&self, routes: &Routes, service: &Variant) -> Result<(), ModelError> {
        let listed = match self.client.list(service, PATIENCE).await {
            Ok(names) => names,
            // Not every service can list its models; those that requests or routes have named are asked about below.
            Err(error) if error.is_no_list() => Vec::new(),
            Err(error) => return Err(error),
        };
        let served = |model: &str| {
            routes
                .of(model)
                .variants
                .iter()
                .any(|variant| variant.is_at(service))
        };
        let known: Vec<String> = self.models().keys().cloned().collect();
        let names = listed
            .into_iter()
            .filter(|name| is_name(name))
            .take(MAX_MODELS);
        let names: BTreeSet<String> = names
            .chain(known)
            .chain(routes.models().keys().cloned())
            .collect();
        for name in names.iter().filter(|name| served(name)) {
            match self.learn(name, service).await {
                Ok(_) => {}
                Err(error) if error.is_unknown_model() => self.forget(name, service),
                Err(error) => self.mark_unready(name, service, &error),
            }
        }
        Ok(())
    }

    async fn learn(&self, model: &str, variant: &Variant) -> Result<Arc<Known>, ModelError> {
        let metadata = self.client.metadata(variant, model, PATIENCE).await?;
        let ready = self.client.is_ready(variant, model, PATIENCE).await;
        Ok(self.put(model, Known::from_metadata(variant, metadata, ready)))
    }

    fn forget(&self, model: &str, service: &Variant) {
        let mut models = self.models_mut();
        if let Some(variants) = models.get_mut(model) {
            variants.retain(|known| !known.variant.is_at(service));
            if variants.is_empty() {
                models.remove(model);
            }
        }
    }

    /// Forgets what the routes do not name any more.
    fn keep_only(&self, routes: &Routes, services: &[Variant]) {
        self.models_mut().retain(|model, variants| {
            variants.retain(|known| {
                routes
                    .of(model)
                    .variants
                    .iter()
                    .any(|variant| variant.is_at(&known.variant))
            });
            !variants.is_empty()
        });
        self.outages.keep_only(services);
    }

    fn mark_unready(&self, model: &str, service: &Variant, error: &ModelError) {
        tracing::debug!(
            name: "model.unready",
            { "ml.model_name" = model, "ml.variant" = &*service.name, "error.type" = error.code() },
            "model {model} is not ready as {}",
            service.name
        );
        if let Some(variants) = self.models_mut().get_mut(model) {
            unready(variants, service);
        }
    }
}

fn find<'a>(variants: &'a [Arc<Known>], variant: &Variant) -> Option<&'a Arc<Known>> {
    variants.iter().find(|known| known.variant.is_at(variant))
}

fn unready(variants: &mut [Arc<Known>], service: &Variant) {
    for known in variants
        .iter_mut()
        .filter(|known| known.ready && known.variant.is_at(service))
    {
        Arc::make_mut(known).ready = false;
    }
}

impl Known {
    /// A service that tells of no inputs is taken to know what it was put behind the gateway for.
    fn from_metadata(variant: &Variant, metadata: Metadata, ready: bool) -> Self {
        let has = |input: &str| {
            metadata.inputs.is_empty() || metadata.inputs.iter().any(|name| name == input)
        };
        Self {
            variant: variant.clone(),
            version: newest(&metadata.versions).unwrap_or_default(),
            by_answer: false,
            takes: Takes {
                data_ids: has("data_id"),
                texts: has("text"),
            },
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
    let highest = versions
        .iter()
        .filter_map(|version| Some((version.parse::<u64>().ok()?, version)))
        .max();
    highest
        .map(|(_, version)| version)
        .or(versions.last())
        .cloned()
}

/// Runs what no client asked for: without spans, which would each be a trace of its own, and without an exception record
/// each time that a service is down, which [`Outages`] tells once. `None` when the runtime is stopping.
pub(crate) async fn quietly<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    spawn_quietly(work).await.ok()
}

fn spawn_quietly<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let silent = Context::new().with_telemetry_suppressed();
    let work = work.with_subscriber(NoSubscriber::default());
    telemetry::span::with_context(&silent, || telemetry::task::spawn(work))
}
