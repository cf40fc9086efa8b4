//! What is known of the models: their variants, versions and inputs. The model services are asked
//! for it outside of any request's trace.
//!
//! A stored prediction is found by the current version of its variant, so even a hit needs that
//! version. The gateway polls every service, takes the version of each inference answer, and while
//! a service was never reached takes the version of the newest stored prediction. What was known
//! stays known while a service is down.

mod known;
mod outages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use runtime::Health;

pub(crate) use self::known::{KnownVariant, Takes};
use self::outages::Outages;
use crate::background::untraced;
use crate::model_client::{CallError, ModelClient};
use crate::names::is_model_name;
use crate::store::watched::WatchedStore;
use crate::traffic::watch::SharedTraffic;
use crate::traffic::{Traffic, Variant};

/// The time limit of one read; a model service answers it from memory.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// A list of more names is a fault of the service.
const MAX_MODELS: usize = 1_000;

/// What is known of all models; cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Discovery {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: ModelClient,
    traffic: SharedTraffic,
    store: WatchedStore,
    /// By model, the variants that are known.
    models: RwLock<Models>,
    outages: Outages,
    refreshed: Mutex<Option<Instant>>,
    refreshing: tokio::sync::Mutex<()>,
}

type Models = BTreeMap<String, Vec<Arc<KnownVariant>>>;

impl Discovery {
    pub(crate) fn new(
        client: ModelClient,
        traffic: SharedTraffic,
        store: WatchedStore,
        health: Health,
    ) -> Self {
        let inner = Inner {
            client,
            traffic,
            store,
            models: RwLock::default(),
            outages: Outages::new(health),
            refreshed: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Whether a variant of `model` is known.
    pub(crate) fn knows(&self, model: &str) -> bool {
        self.inner.models.read().contains_key(model)
    }

    /// What is known of a variant of `model`.
    pub(crate) fn get(&self, model: &str, variant: &Variant) -> Option<Arc<KnownVariant>> {
        find(self.inner.models.read().get(model)?, variant).cloned()
    }

    /// The same; asks the model service, and then the store, about a variant that is not known yet.
    pub(crate) async fn resolve(
        &self,
        model: &str,
        variant: &Variant,
    ) -> Result<Arc<KnownVariant>, Arc<CallError>> {
        if let Some(known) = self.get(model, variant) {
            return Ok(known);
        }
        // A service that did not answer in time does not delay every request.
        let error = if let Some(error) = self.inner.outages.timed_out(variant) {
            error
        } else {
            let (inner, name, of) = (Arc::clone(&self.inner), model.to_owned(), variant.clone());
            match untraced(async move { inner.learn(&name, &of).await }).await {
                Ok(Ok(known)) => return Ok(known),
                Ok(Err(error)) if error.is_unknown_model() => return Err(Arc::new(error)),
                Ok(Err(error)) => Arc::new(error),
                // The runtime is stopping.
                Err(_) => Arc::new(CallError::Abandoned),
            }
        };
        // A store that is down has been logged; here it knows no version.
        let latest = self.inner.store.latest_version(model, &variant.name).await;
        match latest.ok().flatten() {
            Some(version) => Ok(self.inner.assume(model, variant, version)),
            None => Err(error),
        }
    }

    /// Takes the version of an inference answer. `asked` is what was known when the call started: a
    /// newer version that came from the service in between is not overwritten by an old answer.
    pub(crate) fn answered(&self, model: &str, variant: &Variant, asked: &str, version: &str) {
        if asked == version {
            return;
        }
        if let Some(variants) = self.inner.models.write().get_mut(model) {
            let known = variants
                .iter_mut()
                .find(|known| known.variant.is_at(variant) && *known.version == *asked);
            if let Some(known) = known.map(Arc::make_mut) {
                known.version = version.into();
                // Those were of the version before; the next read has the new ones.
                known.classes = Arc::default();
                known.from_answer = true;
            }
        }
    }

    /// All models; asks the services if the last answers are older than `age`.
    pub(crate) async fn all(&self, age: Duration) -> Models {
        let refreshed = *self.inner.refreshed.lock();
        if refreshed.is_none_or(|at| at.elapsed() >= age) {
            self.refresh().await;
        }
        self.inner.models.read().clone()
    }

    /// Whether no model service answered when it was last asked.
    pub(crate) fn is_down(&self) -> bool {
        let services = self.inner.traffic.load().services();
        self.inner.outages.are_all(&services)
    }

    /// Asks all model services for everything, at the same time. Callers at the same time share the
    /// answers.
    pub(crate) async fn refresh(&self) {
        let since = Instant::now();
        let _alone = self.inner.refreshing.lock().await;
        if self.inner.refreshed.lock().is_some_and(|at| at >= since) {
            return;
        }
        let traffic = self.inner.traffic.load();
        let services = traffic.services();
        let mut answers = Vec::with_capacity(services.len());
        for service in &services {
            let (inner, traffic, service) = (
                Arc::clone(&self.inner),
                Arc::clone(&traffic),
                service.clone(),
            );
            answers.push(untraced(async move { inner.ask(&traffic, &service).await }));
        }
        for (service, answer) in services.iter().zip(answers) {
            match answer.await {
                Ok(Ok(())) => self.inner.outages.end(service, &services),
                Ok(Err(error)) => {
                    for variants in self.inner.models.write().values_mut() {
                        mark_unready(variants, service);
                    }
                    self.inner.outages.begin(service, error, &services);
                }
                // The runtime is stopping.
                Err(_) => {}
            }
        }
        self.inner.keep_only(&traffic, &services);
        *self.inner.refreshed.lock() = Some(Instant::now());
    }

    /// Polls the services for ever.
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
    fn put(&self, model: &str, mut known: KnownVariant) -> Arc<KnownVariant> {
        let mut models = self.models.write();
        let variants = models.entry(model.to_owned()).or_default();
        if let Some(old) = find(variants, &known.variant)
            .filter(|old| old.from_answer && known.versions.is_empty())
        {
            known.version = Arc::clone(&old.version);
            known.from_answer = true;
        }
        variants.retain(|old| !old.variant.is_at(&known.variant));
        let known = Arc::new(known);
        variants.push(Arc::clone(&known));
        known
    }

    /// A variant that is known only from its stored predictions; the next answer of its service
    /// replaces it.
    fn assume(&self, model: &str, variant: &Variant, version: String) -> Arc<KnownVariant> {
        let known = KnownVariant {
            variant: variant.clone(),
            version: version.as_str().into(),
            versions: vec![version],
            from_answer: false,
            takes: Takes {
                data_ids: true,
                texts: true,
                only_vectors: false,
            },
            classes: Arc::default(),
            ready: false,
        };
        self.put(model, known)
    }

    /// Asks one service for its list of models, and for each model that it serves.
    async fn ask(&self, traffic: &Traffic, service: &Variant) -> Result<(), CallError> {
        let listed = match self.client.list(service, READ_TIMEOUT).await {
            Ok(names) => names,
            // Not every service can list its models. Those that requests or the routes file name
            // are asked about below.
            Err(error) if error.is_no_list() => Vec::new(),
            Err(error) => return Err(error),
        };
        let listed = listed.into_iter().filter(|name| is_model_name(name));
        let mut names: BTreeSet<String> = listed.take(MAX_MODELS).collect();
        names.extend(self.models.read().keys().cloned());
        names.extend(traffic.models().keys().cloned());
        for name in names.iter().filter(|name| serves(traffic, name, service)) {
            match self.learn(name, service).await {
                Ok(_) => {}
                Err(error) if error.is_unknown_model() => self.forget(name, service),
                Err(error) => self.unready(name, service, &error),
            }
        }
        Ok(())
    }

    async fn learn(&self, model: &str, variant: &Variant) -> Result<Arc<KnownVariant>, CallError> {
        let metadata = self.client.metadata(variant, model, READ_TIMEOUT).await?;
        let ready = self.client.is_ready(variant, model, READ_TIMEOUT).await;
        Ok(self.put(model, KnownVariant::from_metadata(variant, metadata, ready)))
    }

    fn forget(&self, model: &str, service: &Variant) {
        let mut models = self.models.write();
        if let Some(variants) = models.get_mut(model) {
            variants.retain(|known| !known.variant.is_at(service));
            if variants.is_empty() {
                models.remove(model);
            }
        }
    }

    /// Forgets what no split names any more.
    fn keep_only(&self, traffic: &Traffic, services: &[Variant]) {
        self.models.write().retain(|model, variants| {
            variants.retain(|known| serves(traffic, model, &known.variant));
            !variants.is_empty()
        });
        self.outages.keep_only(services);
    }

    fn unready(&self, model: &str, service: &Variant, error: &CallError) {
        tracing::debug!(
            name: "model.unready",
            { "ml.model_name" = model, "ml.variant" = &*service.name, "error.type" = error.code().as_str() },
            "model {model} is not ready as {}",
            service.name
        );
        if let Some(variants) = self.models.write().get_mut(model) {
            mark_unready(variants, service);
        }
    }
}

/// Whether a service is one of the variants of a model.
fn serves(traffic: &Traffic, model: &str, service: &Variant) -> bool {
    let variants = &traffic.of(model).variants;
    variants.iter().any(|variant| variant.is_at(service))
}

fn find<'a>(variants: &'a [Arc<KnownVariant>], variant: &Variant) -> Option<&'a Arc<KnownVariant>> {
    variants.iter().find(|known| known.variant.is_at(variant))
}

fn mark_unready(variants: &mut [Arc<KnownVariant>], service: &Variant) {
    for known in variants
        .iter_mut()
        .filter(|known| known.ready && known.variant.is_at(service))
    {
        Arc::make_mut(known).ready = false;
    }
}
