//! Admission and time: whole bodies, a bounded number of requests in flight, a deadline for each.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Response;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::coding;
use crate::held::held;
use crate::options::ProcessOptions;
use crate::receive::Receiver;
use crate::refusal::{Refusal, Refuse, Refused};
use crate::shutdown::Shutdown;

/// When the request must be answered: an extension of every request behind the limit layer. The
/// time counts from the arrival of the whole body; the body itself has `body_timeout`.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline that ends `budget` from now, at most a day.
    pub fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget.min(LONGEST))
    }

    /// The earlier of this deadline and one that ends `budget` from now.
    pub fn within(self, budget: Duration) -> Self {
        Self(self.0.min(Self::after(budget).0))
    }

    /// The time that is left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// A budget can come from a client, and adding a million years to the clock would panic.
const LONGEST: Duration = Duration::from_hours(24);

/// What a service takes as the body of a request.
#[derive(Clone, Copy, Debug)]
pub struct BodyRules {
    /// The most bytes, as sent and as decompressed.
    pub max_bytes: usize,
    /// Whether handlers get bodies without their content codings. If not, they get the bytes and
    /// `Content-Encoding` as sent.
    pub decode: bool,
}

/// Completes when requests in flight must be answered at once; an extension of requests.
#[derive(Clone, Debug)]
pub(crate) struct Cut(pub(crate) Shutdown);

/// Makes the layer; put it inside the telemetry layer, so that refusals have spans.
pub fn limit_layer(options: &ProcessOptions, bodies: BodyRules, refuse: Refuse) -> LimitLayer {
    LimitLayer(Arc::new(Limits {
        permits: Arc::new(Semaphore::new(options.max_in_flight)),
        timeout: options.request_timeout,
        receiver: Receiver::new(options),
        bodies,
        refuse,
    }))
}

/// See [`limit_layer`]. Clones share the number of requests in flight.
#[derive(Clone, Debug)]
pub struct LimitLayer(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    permits: Arc<Semaphore>,
    timeout: Duration,
    receiver: Receiver,
    bodies: BodyRules,
    refuse: Refuse,
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit {
            inner,
            limits: Arc::clone(&self.0),
        }
    }
}

/// A service that refuses a request before it takes part in the work.
#[derive(Clone, Debug)]
pub struct Limit<S> {
    inner: S,
    limits: Arc<Limits>,
}

impl<S> Service<Request> for Limit<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let limits = Arc::clone(&self.limits);
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move { Ok(limits.answer(inner, request).await) })
    }
}

impl Limits {
    async fn answer<S>(&self, inner: S, request: Request) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible>,
    {
        let refused = Refused::of(&request);
        let cut = request.extensions().get::<Cut>().cloned();
        let work = self.work(inner, request);
        let answer = match cut {
            None => work.await,
            Some(Cut(cut)) => tokio::select! {
                biased;
                answer = work => answer,
                () = cut.wait() => Err(Refusal::Draining),
            },
        };
        answer.unwrap_or_else(|refusal| refusal.finish((self.refuse)(&refused, refusal)))
    }

    async fn work<S>(&self, mut inner: S, request: Request) -> Result<Response, Refusal>
    where
        S: Service<Request, Response = Response, Error = Infallible>,
    {
        let limit = self.bodies.max_bytes;
        let has_body = !request.body().is_end_stream();
        let codings = if has_body && self.bodies.decode {
            coding::codings(request.headers())?
        } else {
            Vec::new()
        };
        let (mut head, body) = request.into_parts();
        let body = if has_body {
            self.receiver.receive(body, limit).await?
        } else {
            bytes::Bytes::new()
        };
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Refusal::TooManyRequests)?;
        let deadline = Deadline::after(self.timeout);
        if deadline.remaining().is_zero() {
            return Err(Refusal::TimedOut);
        }
        head.extensions.insert(deadline);
        let work = async move {
            let mut request = if codings.is_empty() {
                Request::from_parts(head, body.into())
            } else {
                let request = Request::from_parts(head, axum::body::Body::empty());
                coding::decode(request, body, codings, limit).await?
            };
            // The body is here, and not too large.
            DefaultBodyLimit::disable().apply(&mut request);
            inner.call(request).await.map_err(|error| match error {})
        };
        let response = tokio::time::timeout(self.timeout, work)
            .await
            .map_err(|_| Refusal::TimedOut)??;
        Ok(response.map(|body| held(body, permit)))
    }
}
