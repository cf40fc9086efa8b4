//! What the routes of the page's port share.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::api::PageCache;
use crate::facts::SpanFacts;
use crate::gateway::Gateway;
use crate::rules::Rules;
use crate::store::TelemetryStore;
use crate::token::Token;

/// The stores and what is read from them; a clone shares all of it.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) store: Arc<TelemetryStore>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) facts: Arc<SpanFacts>,
    pub(crate) pages: Arc<PageCache>,
    pub(crate) outside: Outside,
}

/// Whom the page calls, and whom it answers.
#[derive(Clone, Default)]
pub(crate) struct Outside {
    pub(crate) gateway: Option<Gateway>,
    pub(crate) token: Option<Token>,
}

impl FromRef<ApiState> for Option<Gateway> {
    fn from_ref(state: &ApiState) -> Self {
        state.outside.gateway.clone()
    }
}

impl FromRef<ApiState> for Option<Token> {
    fn from_ref(state: &ApiState) -> Self {
        state.outside.token.clone()
    }
}

impl FromRef<ApiState> for Arc<TelemetryStore> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.store)
    }
}

impl FromRef<ApiState> for Arc<Rules> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.rules)
    }
}

impl FromRef<ApiState> for Arc<SpanFacts> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.facts)
    }
}

impl FromRef<ApiState> for Arc<PageCache> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.pages)
    }
}
