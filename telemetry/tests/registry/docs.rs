//! Writes `docs/telemetry.md`, the tables in which a user looks names up.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{Attribute, File, Group, Kind, Level, Scalar, Type, groups};

const HEAD: &str = "\
# Telemetry reference

Every name that Throughline emits: spans, metrics, events and their attributes. Tests compare this list with the code.
What becomes of each standard `OTEL_*` variable is in [telemetry-variables.md](telemetry-variables.md).

<!-- Generated from telemetry/registry by `UPDATE_DOCS=1 cargo test -p telemetry --test registry`; do not edit. -->

Names of HTTP, databases, processes and the SDK are those of the
[OpenTelemetry semantic conventions](https://opentelemetry.io/docs/specs/semconv/) 1.44. Our own start with `ml.`; two
more (`model.name`, `success`) and the prefix `ai.` are those that dashboards of inference servers group by. The registry
is written in the format of [OpenTelemetry Weaver](https://github.com/open-telemetry/weaver), so its tools can check live
telemetry against it.

## A trace

A prediction that is not in the store yet, over three processes:

```text
POST /v1/predictions                                SERVER    gateway
├─ SELECT predictions                               CLIENT    gateway        db.system.name=sqlite
├─ POST                                             CLIENT    gateway
│  └─ POST /v2/models/{model_name}/infer            SERVER    model-service
│     ├─ POST                                       CLIENT    model-service
│     │  └─ POST /get-online-features               SERVER    feature-store
│     │     └─ SELECT wine_features                 CLIENT    feature-store  db.system.name=sqlite
│     └─ predict wine_quality                       INTERNAL  model-service  ml.model_name, ml.model_version, ml.run_id
│        ├─ preprocess_input                        INTERNAL
│        ├─ model_inference                         INTERNAL  event inference_completed
│        │  └─ layer linear_1 … layer linear_3      INTERNAL  which layer took the time
│        └─ postprocess_output                      INTERNAL
└─ INSERT predictions                               CLIENT    gateway
```

The same request a moment later is answered from the store. Its trace is `POST /v1/predictions` → `SELECT predictions`, and
the first span carries a **link** to the `predict wine_quality` span that computed the stored answer, whenever that was.

Every log record of a request has the request's trace and span id, on standard output and in OTLP. A failed span has the
status ERROR, an `error.type`, and one log record `exception` with the chain of causes.
";

/// The whole page.
pub(crate) fn page(files: &BTreeMap<String, File>) -> String {
    let all: Vec<_> = groups(files).collect();
    let mut page = HEAD.to_owned();
    spans(&mut page, &all);
    metrics(&mut page, &all);
    events(&mut page, &all);
    for group in all
        .iter()
        .filter(|group| group.id.starts_with("registry.") || group.id == "throughline.otel")
    {
        attributes(&mut page, group, &all);
    }
    for group in all.iter().filter(|group| group.kind == Kind::Entity) {
        resource(&mut page, group);
    }
    page
}

fn spans(page: &mut String, all: &[&Group]) {
    page.push_str("\n## Spans\n\nIn the names, braces hold the value of an attribute.\n");
    for group in all.iter().filter(|group| group.kind == Kind::Span) {
        let name = group.shown().unwrap_or_default();
        let kind = group
            .span_kind
            .as_deref()
            .unwrap_or_default()
            .to_uppercase();
        let title = group.display_name.as_deref().unwrap_or_default();
        line(
            page,
            &format!(
                "\n### {title}: `{name}`\n\n{kind}, emitted by {}. {}",
                emitted_by(group),
                group.brief
            ),
        );
        note(page, group);
        if group.attributes.is_empty() {
            continue;
        }
        page.push_str("\n| attribute | present |\n|---|---|\n");
        for attribute in &group.attributes {
            line(
                page,
                &format!("| `{}` | {} |", attribute.name(), presence(attribute)),
            );
        }
    }
}

fn metrics(page: &mut String, all: &[&Group]) {
    page.push_str("\n## Metrics\n\n| metric | instrument, unit | what it counts or measures | attributes | emitted by |\n|---|---|---|---|---|\n");
    let own_first = [Kind::Metric, Kind::AttributeGroup];
    for group in own_first
        .iter()
        .flat_map(|kind| all.iter().filter(move |group| group.kind == *kind))
    {
        let Some(metric) = group.metric() else {
            continue;
        };
        let names: Vec<_> = group
            .attributes
            .iter()
            .map(|attribute| format!("`{}`", attribute.name()))
            .collect();
        let (brief, attributes) = (&group.brief, names.join(", "));
        let instrument = if metric.instrument == "updowncounter" {
            "up-down counter"
        } else {
            &metric.instrument
        };
        line(
            page,
            &format!(
                "| `{}` | {instrument}, {} | {brief} | {attributes} | {} |",
                metric.name,
                metric.unit,
                emitted_by(group)
            ),
        );
    }
    page.push_str(
        "\nIn Prometheus, dots become underscores, the unit is appended, and counters end in `_total`: `ai.inference.calls` is\n\
         `ai_inference_calls_total`, `ai.inference.latency` is `ai_inference_latency_seconds`.\n",
    );
}

fn events(page: &mut String, all: &[&Group]) {
    page.push_str("\n## Events on spans\n\n| event | meaning | attributes | emitted by |\n|---|---|---|---|\n");
    for group in carried(all, "span") {
        let (name, brief, attributes, by) = event(group);
        line(
            page,
            &format!("| `{name}` | {brief} | {attributes} | {by} |"),
        );
    }
    page.push_str(
        "\n## Log records\n\nThe event name of a record is for queries, its message describes the same event in words.\n\n\
         | event | severity | meaning | fields | emitted by |\n|---|---|---|---|---|\n",
    );
    for group in carried(all, "log") {
        let (name, brief, attributes, by) = event(group);
        let severity = group.annotations.severity.as_deref().unwrap_or_default();
        line(
            page,
            &format!("| `{name}` | {severity} | {brief} | {attributes} | {by} |"),
        );
    }
    page.push_str(
        "\n`RUST_LOG` chooses what is logged (default `info`). On standard output a record is one line for people on a terminal,\n\
         and one JSON object elsewhere, with `timestamp`, `level`, `service.name`, `event.name`, `message`, `trace_id`, `span_id`\n\
         and its fields.\n",
    );
}

fn carried<'a>(all: &'a [&Group], carrier: &'a str) -> impl Iterator<Item = &'a Group> {
    all.iter()
        .copied()
        .filter(move |group| group.annotations.carrier.as_deref() == Some(carrier))
}

fn event(group: &Group) -> (String, &str, String, String) {
    let names: Vec<_> = group
        .attributes
        .iter()
        .map(|attribute| format!("`{}`", attribute.name()))
        .collect();
    (
        group.shown().unwrap_or_default(),
        &group.brief,
        names.join(", "),
        emitted_by(group),
    )
}

fn attributes(page: &mut String, group: &Group, all: &[&Group]) {
    let title = group.display_name.as_deref().unwrap_or(&group.id);
    line(
        page,
        &format!("\n## Attributes: {title}\n\n{}\n", group.brief),
    );
    let own = group
        .attributes
        .iter()
        .any(|attribute| attribute.kind.is_some());
    page.push_str(if own {
        "| attribute | type | meaning | on |\n|---|---|---|---|\n"
    } else {
        "| attribute | what we put into it | on |\n|---|---|---|\n"
    });
    for attribute in &group.attributes {
        let mut meaning = attribute.brief.clone().unwrap_or_default();
        meaning.extend(attribute.note.iter().map(|note| format!(" {note}")));
        meaning.push_str(&values(attribute));
        let name = attribute.name();
        let on = used_on(name, group, all);
        let kind = if own {
            format!(" {} |", type_of(attribute))
        } else {
            String::new()
        };
        line(page, &format!("| `{name}` |{kind} {meaning} | {on} |"));
    }
}

fn resource(page: &mut String, group: &Group) {
    line(
        page,
        &format!(
            "\n## {}\n\n{}",
            group.display_name.as_deref().unwrap_or(&group.id),
            group.brief
        ),
    );
    note(page, group);
    page.push_str("\n| attribute | what we put into it |\n|---|---|\n");
    for attribute in &group.attributes {
        line(
            page,
            &format!(
                "| `{}` | {} |",
                attribute.name(),
                attribute.brief.as_deref().unwrap_or_default()
            ),
        );
    }
}

/// Spans, metrics and events that have the attribute. A long list of one kind becomes a count.
fn used_on(name: &str, itself: &Group, all: &[&Group]) -> String {
    let has = |group: &&&Group| {
        group.id != itself.id
            && group
                .attributes
                .iter()
                .any(|attribute| attribute.name() == name)
    };
    let users: Vec<_> = all.iter().filter(has).collect();
    let mut parts = Vec::new();
    let kinds = [
        (&[Kind::Span][..], "spans"),
        (&[Kind::Metric, Kind::AttributeGroup], "metrics"),
        (&[Kind::Event], "events"),
    ];
    for (kinds, word) in kinds {
        let names: Vec<_> = users
            .iter()
            .filter(|group| kinds.contains(&group.kind))
            .filter_map(|group| called(group))
            .collect();
        match names.len() {
            0 => {}
            1..=4 => parts.extend(names),
            many => parts.push(format!("{many} {word}")),
        }
    }
    parts.join(", ")
}

/// Names of spans are patterns and hard to read in a list, so their titles stand there.
fn called(group: &Group) -> Option<String> {
    if group.kind == Kind::Span {
        return group
            .display_name
            .as_ref()
            .map(|title| format!("{title} span"));
    }
    group.shown().map(|name| format!("`{name}`"))
}

fn type_of(attribute: &Attribute) -> &str {
    match &attribute.kind {
        Some(Type::Simple(kind)) => kind,
        Some(Type::Enum { .. }) | None => "string",
    }
}

/// The values of an enumeration, or the examples.
fn values(attribute: &Attribute) -> String {
    if let Some(Type::Enum { members }) = &attribute.kind {
        let members: Vec<_> = members
            .iter()
            .map(|member| format!("`{}`: {}", member.value, member.brief))
            .collect();
        return format!(" {}", members.join(" "));
    }
    let examples: Vec<_> = attribute
        .examples
        .iter()
        .map(|example| match example {
            Scalar::Int(number) => format!("`{number}`"),
            Scalar::Double(number) => format!("`{number}`"),
            Scalar::Text(text) => format!("`{text}`"),
        })
        .collect();
    if examples.is_empty() {
        String::new()
    } else {
        format!(" Example: {}.", examples.join(", "))
    }
}

fn presence(attribute: &Attribute) -> String {
    match (&attribute.requirement_level, &attribute.note) {
        (Some(Level::Word(word)), _) if word == "required" => "always".to_owned(),
        (
            Some(Level::Condition {
                conditionally_required,
            }),
            _,
        ) => format!("if {conditionally_required}"),
        (_, Some(by)) => by.clone(),
        _ => "if known".to_owned(),
    }
}

fn emitted_by(group: &Group) -> String {
    // Every process emits what the shared packages emit, and a user need not know those packages.
    let by = group
        .annotations
        .emitted_by
        .iter()
        .map(|package| match package.as_str() {
            "telemetry" | "runtime" => "every part",
            service => service,
        });
    by.collect::<Vec<_>>().join(", ")
}

fn note(page: &mut String, group: &Group) {
    if let Some(note) = &group.note {
        line(page, &format!("\n{}", note.trim()));
    }
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a text takes everything");
}
