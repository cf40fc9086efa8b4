//! Environment variables as carriers of the trace context: from the process that started this one,
//! and to those that this one starts.
//!
//! The names are those of the OpenTelemetry specification, "Environment Variables as Context
//! Propagation Carriers": `TRACEPARENT`, `TRACESTATE` and `BAGGAGE` for the W3C propagators.

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, global};

/// The variables that give a child the trace context `context`.
pub fn to_environment(context: &Context) -> Vec<(String, String)> {
    let mut variables = Variables(Vec::new());
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(context, &mut variables);
    });
    variables.0
}

/// The trace context that the variables of this process carry; an empty one without them.
pub fn from_environment() -> Context {
    extract(variables())
}

/// A variable whose name or value is no text carries no context.
fn variables() -> Vec<(String, String)> {
    let variables = std::env::vars_os();
    let texts =
        variables.map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.flatten().collect()
}

fn extract(variables: Vec<(String, String)>) -> Context {
    let variables = Variables(variables);
    global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &variables)
    })
}

struct Variables(Vec<(String, String)>);

impl Injector for Variables {
    fn set(&mut self, key: &str, value: String) {
        self.0.push((name(key), value));
    }
}

impl Extractor for Variables {
    fn get(&self, key: &str) -> Option<&str> {
        let name = name(key);
        let found = self.0.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| value.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Upper case, and `_` for what cannot be in the name of a variable.
fn name(key: &str) -> String {
    let letters = key.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
        _ => '_',
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    //! The names and values of the variables.

    use opentelemetry::trace::TraceContextExt;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_what_was_written() {
        let settings = crate::Settings::from_lookup("train", "1.2.3", |_| None);
        global::set_text_map_propagator(crate::providers::propagator(&settings));
        let variables = [
            ("TRACEPARENT", PARENT),
            ("TRACESTATE", "vendor=1"),
            ("BAGGAGE", "user.id=7"),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let context = extract(variables.to_vec());
        assert!(context.span().span_context().is_remote());
        let mut written = to_environment(&context);
        written.sort();
        let mut expected = variables[..3].to_vec();
        expected.sort();
        assert_eq!(written, expected);
    }

    #[test]
    fn names_are_those_of_variables() {
        assert_eq!(name("traceparent"), "TRACEPARENT");
        assert_eq!(name("x-b3-traceid"), "X_B3_TRACEID");
    }
}
