//! Which variant a call of `/v2` goes to.
//!
//! A call is not taken apart: all its rows go to one variant. The user is hashed, else the first
//! `data_id` of the body, else the trace, so that the calls of one request stay together. Reads of
//! metadata are not split: they go to the first variant unless the request names another one.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, header};
use protocol::oip::{HEADER_LENGTH, InferRequest, parse_header_length};
use runtime::Deadline;
use telemetry::{SpanRef, TraceId, attr};

use super::{Forwarded, Passthrough};
use crate::choice::{Choice, Wish, named, repeatable};
use crate::dispatch::budget;
use crate::error::ApiError;
use crate::model_client::InferenceCall;
use crate::names::is_model_name;
use crate::traffic::{Mode, Split, Traffic, Variant, VariantIndex};

type Answer = Result<Response<Bytes>, ApiError>;

impl Passthrough {
    /// A call that is about no model goes to the first service, or to the one that the request
    /// names.
    pub(super) async fn ask_service(&self, call: Forwarded, deadline: Deadline) -> Answer {
        let traffic = self.traffic.load();
        let variant = match Wish::read(&call.headers).variant {
            Some(name) => service(&traffic, &name)?,
            None => traffic.fallback()[traffic.fallback().first()].clone(),
        };
        let time = budget(deadline.remaining());
        Ok(call.send(&self.client, "", &variant, time).await?)
    }

    /// The names are checked, since they become part of a path at the model service.
    pub(super) async fn ask_model(
        &self,
        model: &str,
        version: Option<&String>,
        call: Forwarded,
        deadline: Deadline,
    ) -> Answer {
        if !is_model_name(model) || version.is_some_and(|version| !is_model_name(version)) {
            return Err(ApiError::UnknownModel {
                model: model.to_owned(),
            });
        }
        let span = telemetry::current();
        span.set(attr::ML_MODEL_NAME, model.to_owned());
        if let Some(version) = version {
            span.set(attr::ML_MODEL_VERSION, version.clone());
        }
        let split = Arc::clone(self.traffic.load().of(model));
        if call.method == Method::POST {
            return self.infer(model, version, split, call, deadline).await;
        }
        let variant = match Wish::read(&call.headers).variant {
            Some(name) => named(&split, model, &name)?,
            None => split
                .answering()
                .find(|variant| self.has_version(model, version, &split[*variant]))
                .unwrap_or(split.first()),
        };
        let variant = &split[variant];
        span.set(attr::ML_VARIANT, Arc::clone(&variant.name));
        let time = budget(deadline.remaining());
        Ok(call.send(&self.client, model, variant, time).await?)
    }

    async fn infer(
        &self,
        model: &str,
        version: Option<&String>,
        split: Arc<Split>,
        call: Forwarded,
        deadline: Deadline,
    ) -> Answer {
        let choice = Choice::new(
            split,
            model.into(),
            Wish::read(&call.headers),
            &self.breakers,
        )?;
        let id = if choice.is_by_id() {
            split_key(&call)
        } else {
            String::new()
        };
        let mut assignment = choice.assign_among(&id, |variant| {
            self.has_version(model, version, &choice.split[variant])
        });
        choice.record(std::iter::once((&*id, &assignment)));
        // Set before the call, so that the span of a client that leaves has it as well.
        choice.set_on_span(assignment.variant);
        let reply = if version.is_none() {
            self.call_shadows(&choice, &call, deadline);
            self.dispatcher
                .call_with_fail_over(&choice, &id, &mut assignment, call, deadline)
                .await
        } else {
            // Another variant counts its versions differently, so nothing fails over and no shadow
            // is called.
            let variant = &choice.split[assignment.variant];
            let time = budget(deadline.remaining());
            self.dispatcher.call(model, variant, call, time).await
        };
        if !assignment.failed.is_empty() {
            choice.record_fail_overs(std::iter::once((&*id, &assignment)));
            choice.set_on_span(assignment.variant);
        }
        Ok(reply?)
    }

    fn call_shadows(&self, choice: &Choice, call: &Forwarded, deadline: Deadline) {
        let time = budget(deadline.remaining());
        self.dispatcher
            .call_shadows(&choice.split, |shadow: VariantIndex| {
                let (dispatcher, call) = (self.dispatcher.clone(), call.clone());
                let (model, split) = (choice.model.clone(), Arc::clone(&choice.split));
                async move {
                    let reply = dispatcher.call(&model, &split[shadow], call, time).await;
                    reply.is_ok_and(|reply| {
                        !Forwarded::error(&reply).is_some_and(|error| error.is_outage())
                    })
                }
            });
    }

    /// Whether a variant has the version that a request names, as far as is known.
    fn has_version(&self, model: &str, version: Option<&String>, variant: &Variant) -> bool {
        version.is_none_or(|version| {
            let known = self.discovery.get(model, variant);
            known.is_some_and(|known| known.versions.contains(version))
        })
    }
}

/// The service of a request that names a variant and no model.
fn service(traffic: &Traffic, name: &str) -> Result<Variant, ApiError> {
    let mut services = traffic.services().into_iter();
    services
        .find(|variant| *variant.name == *name && variant.mode == Mode::Active)
        .ok_or_else(|| ApiError::UnknownVariant {
            model: None,
            variant: repeatable(name),
            shadow: false,
        })
}

/// What is hashed for a call without a user.
fn split_key(call: &Forwarded) -> String {
    data_id(call)
        .or_else(|| Some(trace_id(call)?.to_string()))
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

/// The trace of the call; without telemetry, the trace of its client.
fn trace_id(call: &Forwarded) -> Option<TraceId> {
    telemetry::current().trace_id().or_else(|| {
        let header = call.headers.get("traceparent")?.to_str().ok()?;
        Some(SpanRef::from_traceparent(header)?.trace_id)
    })
}

/// Whether the body has a content coding: names of codings have no case (RFC 9110, 8.4.1), and
/// several lines are one list with elements that may be empty (5.3, 5.6.1).
fn is_encoded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.any(|name| {
        let name = name.trim_ascii();
        !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")
    })
}

/// The first `data_id` of a body. The search for the name saves other bodies from being parsed.
fn data_id(call: &Forwarded) -> Option<String> {
    const NAME: &[u8] = b"\"data_id\"";
    if is_encoded(&call.headers) || !call.body.windows(NAME.len()).any(|window| window == NAME) {
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn encoded(lines: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(line));
        }
        is_encoded(&headers)
    }

    #[test]
    fn names_of_codings_have_no_case_and_lines_are_one_list() {
        for plain in [&[][..], &["Identity"], &["IDENTITY, identity"], &["", " ,"]] {
            assert!(!encoded(plain), "{plain:?}");
        }
        for coded in [
            &["GZIP"][..],
            &["identity, x-gzip"],
            &["identity", "Deflate"],
        ] {
            assert!(encoded(coded), "{coded:?}");
        }
    }
}
