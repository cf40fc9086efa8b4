//! Admission and time: a bounded number of requests in flight, and a deadline for each.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::Response;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::options::ProcessOptions;

/// Why the layer refuses a request; the service writes the answer in its own protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many requests as allowed are in flight: 429 with `Retry-After`.
    TooManyRequests,
    /// The time for one request has passed: 504.
    TimedOut,
}

/// When the request must be answered: an extension of every request behind the limit layer.
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

/// Makes the layer; put it inside the telemetry layer, so that refusals have spans.
pub fn limit_layer(options: &ProcessOptions, refuse: fn(Refusal) -> Response) -> LimitLayer {
    LimitLayer {
        permits: Arc::new(Semaphore::new(options.max_in_flight)),
        timeout: options.request_timeout,
        refuse,
    }
}

/// See [`limit_layer`]. Clones share the number of requests in flight.
#[derive(Clone, Debug)]
pub struct LimitLayer {
    permits: Arc<Semaphore>,
    timeout: Duration,
    refuse: fn(Refusal) -> Response,
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit {
            inner,
            limits: self.clone(),
        }
    }
}

/// A service that refuses a request before it takes part in the work.
#[derive(Clone, Debug)]
pub struct Limit<S> {
    inner: S,
    limits: LimitLayer,
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

    fn call(&mut self, mut request: Request) -> Self::Future {
        let LimitLayer {
            permits,
            timeout,
            refuse,
        } = self.limits.clone();
        let Ok(permit) = permits.try_acquire_owned() else {
            return Box::pin(async move { Ok(refuse(Refusal::TooManyRequests)) });
        };
        request.extensions_mut().insert(Deadline::after(timeout));
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let _held = permit;
            match tokio::time::timeout(timeout, inner.call(request)).await {
                Ok(answer) => answer,
                Err(_) => Ok(refuse(Refusal::TimedOut)),
            }
        })
    }
}
