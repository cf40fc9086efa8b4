//! The registry of names is complete and agrees with the code, and `docs/telemetry.md` is generated
//! from it.
//!
//! `UPDATE_DOCS=1 cargo test -p telemetry --test registry` writes the page.

mod docs;
mod model;
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use model::{Kind, Type, groups, load};

/// Its events are calls of `logs.event`, and not `tracing` macros.
const PYTHON: &str = "model-service-python";

#[test]
fn every_use_has_a_definition_and_every_definition_a_use() {
    let files = load();
    let (mut defined, mut used) = (BTreeSet::new(), BTreeSet::new());
    for group in groups(&files) {
        let catalogue = group.id == "throughline.otel";
        for attribute in &group.attributes {
            let fresh = if attribute.id.is_some() || catalogue {
                defined.insert(attribute.name())
            } else {
                used.insert((group.id.as_str(), attribute.name()))
            };
            assert!(fresh, "`{}` twice in {}", attribute.name(), group.id);
        }
    }
    let entity =
        |id: &str| groups(&files).any(|group| group.id == id && group.kind == Kind::Entity);
    let used: BTreeSet<_> = used
        .into_iter()
        .filter(|(group, _)| !entity(group))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(
        defined, used,
        "attributes.yaml and otel.yaml against spans, metrics and events"
    );
}

#[test]
fn every_group_is_complete_and_names_its_emitter() {
    let files = load();
    let mut ids = BTreeSet::new();
    for group in groups(&files) {
        assert!(ids.insert(&group.id), "{} twice", group.id);
        if group.kind != Kind::AttributeGroup || group.annotations.metric.is_some() {
            assert!(
                !group.annotations.emitted_by.is_empty(),
                "who emits {}?",
                group.id
            );
        }
        let complete = match group.kind {
            Kind::Span => {
                group.span_kind.is_some()
                    && group.annotations.name.is_some()
                    && group.display_name.is_some()
            }
            Kind::Event => match group.annotations.carrier.as_deref() {
                Some("span") => group.annotations.severity.is_none(),
                Some("log") => group.annotations.severity.is_some(),
                _ => false,
            },
            Kind::Metric => group.metric().is_some(),
            Kind::AttributeGroup | Kind::Entity => true,
        };
        assert!(complete, "{} is not complete", group.id);
    }
    let imported: BTreeSet<_> = files
        .values()
        .flat_map(|file| file.imports.metrics.clone())
        .collect();
    let described: BTreeSet<_> = groups(&files)
        .filter_map(|group| group.annotations.metric.clone())
        .map(|metric| metric.name)
        .collect();
    assert_eq!(
        imported, described,
        "imported metrics and the groups that describe their attributes"
    );
}

#[test]
fn no_metric_has_an_attribute_without_bounds() {
    let unbounded = [
        "ml.data_id",
        "ml.run_id",
        "url.path",
        "url.full",
        "url.query",
        "client.address",
        "user_agent.original",
        "exception.message",
    ];
    for group in groups(&load()).filter(|group| group.metric().is_some()) {
        for attribute in &group.attributes {
            assert!(
                !unbounded.contains(&attribute.name()),
                "{} on {}",
                attribute.name(),
                group.id
            );
        }
    }
}

#[test]
fn the_constants_are_the_registry_with_types_and_units() {
    let files = load();
    let constants = sources::constants();
    let definitions = groups(&files)
        .flat_map(|group| &group.attributes)
        .filter_map(|attribute| {
            let kind = match attribute.kind.as_ref()? {
                Type::Simple(kind) => kind.as_str(),
                Type::Enum { .. } => "string",
            };
            Some((attribute.id.clone()?, kind.to_owned()))
        });
    // The names of the Python instrumentation are constants of another project.
    let elsewhere = ["registry.throughline.log", "registry.throughline.python"];
    let of_log = |name: &str| {
        groups(&files).any(|group| {
            elsewhere.contains(&group.id.as_str())
                && group
                    .attributes
                    .iter()
                    .any(|attribute| attribute.name() == name)
        })
    };
    let metrics: BTreeMap<_, _> = groups(&files)
        .filter_map(model::Group::metric)
        .map(|metric| (metric.name.clone(), metric))
        .collect();
    // Fields of log records are literals of the `tracing` macros, and two attributes of `epoch`
    // bear the names of metrics.
    let expected: BTreeMap<_, _> = definitions
        .filter(|(name, _)| !of_log(name) && !metrics.contains_key(name))
        .collect();
    assert_eq!(
        constants.attributes, expected,
        "constants of attr.rs (left) and attributes.yaml (right)"
    );

    for (name, shape) in &constants.metrics {
        let metric = metrics
            .get(name)
            .unwrap_or_else(|| panic!("attr.rs names the metric {name}, the registry does not"));
        assert_eq!(
            *shape,
            format!("{}, {}", metric.instrument, metric.unit),
            "{name}"
        );
    }
    let ours = |group: &&model::Group| {
        group.kind == Kind::Metric && group.annotations.emitted_by != ["model-service-python"]
    };
    for group in groups(&files).filter(ours) {
        let name = group.metric_name.as_deref().expect("a name");
        assert!(
            constants.metrics.contains_key(name),
            "no constant for {name}"
        );
    }
}

#[test]
fn the_names_of_opentelemetry_that_the_code_takes_are_in_the_registry() {
    let files = load();
    let attributes: BTreeSet<_> = groups(&files)
        .flat_map(|group| &group.attributes)
        .map(model::Attribute::name)
        .collect();
    let metrics: BTreeSet<_> = groups(&files)
        .filter_map(model::Group::metric)
        .map(|metric| metric.name)
        .collect();
    for name in sources::opentelemetry_names() {
        let known = attributes.contains(name) || metrics.contains(name);
        assert!(known, "{name}");
    }
}

#[test]
fn the_events_of_the_code_are_the_events_of_the_registry_with_their_fields() {
    let files = load();
    let registered: BTreeMap<_, BTreeSet<_>> = groups(&files)
        .filter(|group| group.annotations.carrier.as_deref() == Some("log"))
        .filter(|group| group.annotations.emitted_by != [PYTHON])
        .map(|group| {
            let fields = group
                .attributes
                .iter()
                .map(|attribute| attribute.name().to_owned())
                .collect();
            let severity = group.annotations.severity.clone().expect("a severity");
            ((group.name.clone().expect("a name"), severity), fields)
        })
        .collect();
    assert_eq!(
        sources::events(),
        registered,
        "`tracing` macros of the packages (left) and events.yaml (right)"
    );
}

#[test]
fn the_events_of_the_python_worker_are_in_the_registry_and_its_own_are_all_logged() {
    let files = load();
    let logged = sources::events_in_python();
    let registered: BTreeSet<_> = groups(&files)
        .filter_map(|group| Some((group, group.annotations.severity.clone()?)))
        .map(|(group, severity)| {
            let event = (group.name.clone().expect("a name"), severity);
            let is_own = group.annotations.emitted_by == [PYTHON];
            assert!(
                !is_own || logged.contains(&event),
                "{event:?} is not logged"
            );
            event
        })
        .collect();
    let unknown: Vec<_> = logged.difference(&registered).collect();
    assert!(unknown.is_empty(), "not in events.yaml: {unknown:?}");
}

#[test]
fn the_page_is_generated_from_the_registry() {
    let path = model::root().join("docs/telemetry.md");
    let page = docs::page(&load());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("a writable page");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/telemetry.md is not that of the registry; run UPDATE_DOCS=1 cargo test -p telemetry --test registry"
    );
}
