//! Which variant a call of `/v2` goes to, and what goes with it: a shadow beside, or the next variant after a failure.
//!
//! A pass-through is not taken apart: all rows of a call go to one variant. What is hashed is the user, else the first `data_id`
//! of the body, else the trace, so that the calls of one request stay together. Reads of metadata are no choice: they go to
//! the first variant unless a request asks for another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Response, header};
use protocol::oip::{HEADER_LENGTH, InferRequest, parse_header_length};
use runtime::Deadline;
use telemetry::{SpanRef, attr};

use super::{Forwarded, Passthrough};
use crate::catalogue::is_name;
use crate::choice::{Choice, Wish, forced, told};
use crate::error::ApiError;
use crate::model::{ModelError, budget};
use crate::routes::{Mode, Route, Routes, Variant};
use crate::statistics::CallEnd;

type Answer = Result<Response<Bytes>, ApiError>;

impl Passthrough {
    /// What is about no model is asked of the first service, or of the one that the request names.
    pub(super) async fn ask_service(&self, call: &Forwarded, deadline: Deadline) -> Answer {
        let routes = self.parts.routes.load();
        let variant = match Wish::read(&call.headers).forced {
            Some(name) => service(&routes, &name)?,
            None => routes.fallback().variants[routes.fallback().first()].clone(),
        };
        let sent = self
            .send(&variant, call, budget(deadline.remaining()))
            .await?;
        sent.map_err(|error| ApiError::Model(Arc::new(error)))
    }

    /// Names are checked, since they lead to paths of the model service.
    pub(super) async fn ask_model(
        &self,
        model: &str,
        version: Option<&String>,
        call: &Forwarded,
        deadline: Deadline,
    ) -> Answer {
        // Clients that mean no version in particular leave the place of its name empty.
        let version = version.filter(|version| !version.is_empty());
        if !is_name(model) || version.is_some_and(|version| !is_name(version)) {
            return Err(ApiError::UnknownModel {
                model: model.to_owned(),
            });
        }
        let span = telemetry::current();
        span.set(attr::ML_MODEL_NAME, model.to_owned());
        if let Some(version) = version {
            span.set(attr::ML_MODEL_VERSION, version.clone());
        }
        let routes = self.parts.routes.load();
        let route = routes.of(model);
        if call.method == Method::POST {
            return self.infer(model, version, route, call, deadline).await;
        }
        let variant = match Wish::read(&call.headers) {
            Wish {
                forced: Some(name), ..
            } => forced(route, model, &name)?,
            Wish { forced: None, .. } => self
                .having(model, version, route)
                .first()
                .copied()
                .unwrap_or(route.first()),
        };
        span.set(attr::ML_VARIANT, Arc::clone(&route.variants[variant].name));
        let sent = self
            .send(&route.variants[variant], call, budget(deadline.remaining()))
            .await?;
        sent.map_err(|error| ApiError::Model(Arc::new(error)))
    }

    async fn infer(
        &self,
        model: &str,
        version: Option<&String>,
        route: &Arc<Route>,
        call: &Forwarded,
        deadline: Deadline,
    ) -> Answer {
        let wish = Wish::read(&call.headers);
        let open = wish.forced.is_none() && route.only.is_none();
        let key = if open && wish.user.is_none() {
            vec![key(call)]
        } else {
            vec![String::new()]
        };
        let mut choice = Choice::of(route, model, wish, &key)?;
        if open && version.is_some() {
            choice.narrow(route, &key[0], &self.having(model, version, route));
        }
        choice.tell(route, model, &key);
        if version.is_none() {
            // The versions of a shadow are others.
            self.call_shadows(model, route, call, deadline.remaining());
        }
        let mut tried = Vec::new();
        loop {
            let at = choice.of[0];
            let variant = &route.variants[at];
            tried.push(at);
            telemetry::current().set(attr::ML_VARIANT, Arc::clone(&variant.name));
            let left = budget(deadline.remaining());
            let next = if version.is_none() {
                choice.next(route, &key[0], &tried)
            } else {
                None
            };
            let sent = self
                .counted(
                    model,
                    variant,
                    call,
                    if next.is_some() { left / 2 } else { left },
                )
                .await?;
            let error_type = failure(&sent);
            match (error_type, next) {
                (Some(error_type), Some(next)) if !budget(deadline.remaining()).is_zero() => {
                    choice.tell_fail_over(route, model, (at, next), &key, error_type);
                    choice.of[0] = next;
                }
                _ => return sent.map_err(|error| ApiError::Model(Arc::new(error))),
            }
        }
    }

    /// The variants that have a version, if it matters and is known; numbers of versions are not shared among variants.
    fn having(&self, model: &str, version: Option<&String>, route: &Route) -> Vec<usize> {
        let answering = (0..route.variants.len()).filter(|at| route.variants[*at].answers());
        let Some(version) = version else {
            return answering.collect();
        };
        let has = |variant: &Variant| {
            self.parts
                .catalogue
                .get(model, variant)
                .is_some_and(|known| known.versions.contains(version))
        };
        answering.filter(|at| has(&route.variants[*at])).collect()
    }

    /// The same call for each shadow; nobody waits for it.
    fn call_shadows(&self, model: &str, route: &Arc<Route>, call: &Forwarded, timeout: Duration) {
        for at in route.shadows() {
            let Some(place) = self.parts.shadows.begin(&route.variants[at]) else {
                continue;
            };
            let (this, route, call, model) = (
                self.clone(),
                Arc::clone(route),
                call.clone(),
                model.to_owned(),
            );
            drop(telemetry::task::spawn(async move {
                let sent = this
                    .counted(&model, &route.variants[at], &call, timeout)
                    .await;
                place.end(sent.is_ok_and(|sent| failure(&sent).is_none()));
            }));
        }
    }

    /// Sends, and counts the call in the statistics of models that are known.
    async fn counted(
        &self,
        model: &str,
        variant: &Variant,
        call: &Forwarded,
        timeout: Duration,
    ) -> Result<Result<Response<Bytes>, ModelError>, ApiError> {
        let started = Instant::now();
        let sent = self.send(variant, call, timeout).await?;
        if self.parts.catalogue.get(model, variant).is_some() {
            self.parts
                .statistics
                .called(model, &variant.name, started.elapsed(), end(&sent));
        }
        Ok(sent)
    }

    async fn send(
        &self,
        variant: &Variant,
        call: &Forwarded,
        timeout: Duration,
    ) -> Result<Result<Response<Bytes>, ModelError>, ApiError> {
        Ok(self
            .parts
            .client
            .send(variant, call.request(variant)?, timeout)
            .await)
    }
}

/// The service that a request names which is about no model.
fn service(routes: &Routes, name: &str) -> Result<Variant, ApiError> {
    let named = |variant: &Variant| *variant.name == *name && variant.mode == Mode::Active;
    let unknown = || ApiError::UnknownVariant {
        model: None,
        variant: told(name),
        shadow: false,
    };
    routes
        .services()
        .into_iter()
        .find(named)
        .ok_or_else(unknown)
}

/// The word for a variant that failed as a whole.
fn failure(sent: &Result<Response<Bytes>, ModelError>) -> Option<&'static str> {
    match sent {
        Ok(response) => ModelError::of_status(response.status())
            .filter(ModelError::is_outage)
            .map(|error| error.code()),
        Err(error) => error.is_outage().then(|| error.code()),
    }
}

fn end(sent: &Result<Response<Bytes>, ModelError>) -> CallEnd {
    match sent {
        Ok(response) => ModelError::of_status(response.status())
            .as_ref()
            .map_or(CallEnd::Answered, CallEnd::of_error),
        Err(error) => CallEnd::of_error(error),
    }
}

/// What the split of a call without a user goes by.
fn key(call: &Forwarded) -> String {
    data_id(call)
        .or_else(|| trace_id(call))
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

/// The trace of the call; without telemetry, that of its client.
fn trace_id(call: &Forwarded) -> Option<String> {
    let of_client = || {
        SpanRef::from_traceparent(call.headers.get("traceparent")?.to_str().ok()?)
            .map(|span| span.trace_id)
    };
    telemetry::current().trace_id().or_else(of_client)
}

/// The first `data_id` of a body, if it has such an input: one search for its name spares all others the reading.
fn data_id(call: &Forwarded) -> Option<String> {
    const NAME: &[u8] = b"\"data_id\"";
    let encoded = call
        .headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity");
    if encoded || !call.body.windows(NAME.len()).any(|window| window == NAME) {
        return None;
    }
    let length = call
        .headers
        .get(HEADER_LENGTH)
        .map(|value| parse_header_length(value.as_bytes()))
        .transpose()
        .ok()?;
    let request = InferRequest::decode(&call.body, length).ok()?;
    let first = request.input("data_id")?.as_bytes()?.first()?.clone();
    String::from_utf8(first.into()).ok()
}
