//! The route of a request: the texts that each request of it has, written once.

use std::borrow::Cow;
use std::sync::Arc;

use crate::fixed_map::FixedMap;

static ROUTES: FixedMap<(&str, Arc<str>), String> = FixedMap::new();

/// The name of the span of a request, `{method} {route}`, and the text of its route.
pub(super) fn named(method: &'static str, route: &str) -> (Cow<'static, str>, Arc<str>) {
    let name = || [method, " ", route].concat();
    let known = ROUTES.find_or_insert_with(
        |known| *known.0 == *method && *known.1 == *route,
        || ((method, route.into()), name()),
    );
    match known {
        Some(((_, route), name)) => (Cow::Borrowed(name), Arc::clone(route)),
        None => (Cow::Owned(name()), route.into()),
    }
}
