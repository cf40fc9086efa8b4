//! The Python worker as a part: the same scripts, instrumented by the same command, as in the tutorial by hand.

use std::path::PathBuf;

use anyhow::bail;

use super::{System, address};
use crate::cli::UpOptions;
use crate::python::{self, Environment, Found};
use crate::screen;
use crate::train::has_version;
use crate::up::part::{Part, Spec};

/// `service.name` of the worker.
pub(super) const NAME: &str = "model-service-python";
/// The variant of the models that it serves.
pub(super) const VARIANT: &str = "canary";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The worker's environment: there, wanted, or neither.
pub(super) fn environment(options: &UpOptions) -> anyhow::Result<Option<Environment>> {
    if options.worker.no_python {
        return Ok(None);
    }
    let root = options.environment();
    let wrong = match Environment::find(&root)? {
        Found::Ready(environment) => return Ok(Some(environment)),
        Found::Missing if !options.worker.python => return Ok(None),
        Found::Missing => "there is no Python environment in",
        Found::Outdated => {
            "this program needs other versions than there are in the Python environment"
        }
    };
    let sentence = format!(
        "{wrong} {}; `throughline python-setup` makes it",
        root.display()
    );
    if options.worker.python {
        bail!(sentence);
    }
    screen::warn(format!("without the Python worker: {sentence}"));
    Ok(None)
}

impl System {
    /// Starts the worker, if this system has one; it does not wait until it listens.
    pub(super) fn launch_worker(&self, feature_store: &str) -> anyhow::Result<Option<Part>> {
        let Some(environment) = &self.python else {
            return Ok(None);
        };
        let mut args = address("--listen", self.options.worker.python_port);
        args.extend([
            "--model-repository".to_owned(),
            self.data.models().display().to_string(),
        ]);
        args.extend(["--feature-store".to_owned(), feature_store.to_owned()]);
        args.extend(["--variant", VARIANT, "--exit-with-parent"].map(str::to_owned));
        if !self.options.no_faults {
            args.push("--allow-faults".to_owned());
        }
        self.start_python(
            environment,
            NAME,
            "throughline_worker",
            args,
            self.data.log(NAME),
        )
        .map(Some)
    }

    /// Trains the worker's model if there is none.
    pub(super) fn train_worker(&self, csv: &str, models: &str) -> anyhow::Result<Option<Part>> {
        let Some(environment) = &self.python else {
            return Ok(None);
        };
        if has_version(&self.data.models(), "wine_quality", "model.skops") {
            return Ok(None);
        }
        screen::say("training wine_quality in Python …");
        let mut args = vec![
            "wine_quality",
            "--data",
            csv,
            "--model-repository",
            models,
            "--if-missing",
        ];
        args.extend(
            telemetry::revision()
                .into_iter()
                .flat_map(|revision| ["--source-commit", revision]),
        );
        let log = self.data.log("train-python");
        let name = "model-training";
        let args = args.into_iter().map(str::to_owned).collect();
        self.start_python(environment, name, "throughline_worker.train", args, log)
            .map(Some)
    }

    fn start_python(
        &self,
        environment: &Environment,
        name: &'static str,
        module: &str,
        args: Vec<String>,
        log: PathBuf,
    ) -> anyhow::Result<Part> {
        let (program, mut all) = environment.instrumented(module);
        all.extend(args);
        let mut env = python::instrumentation()?;
        for (variable, value) in &mut env {
            if variable == RESOURCE {
                *value = resource(value);
            }
        }
        // What the user has set wins; the resource is both, and has the user's in it.
        env.retain(|(variable, _)| variable == RESOURCE || std::env::var_os(variable).is_none());
        env.extend(self.environment());
        env.push(("OTEL_SERVICE_NAME".to_owned(), name.to_owned()));
        Part::start(Spec {
            name,
            program: Some(program),
            args: all,
            env,
            log,
        })
    }
}

/// The worker's own attributes, the commit of this program, and the user's, of which a later one wins.
fn resource(own: &str) -> String {
    let revision =
        telemetry::revision().map(|revision| format!("vcs.ref.head.revision={revision}"));
    let theirs = std::env::var(RESOURCE)
        .ok()
        .filter(|theirs| !theirs.is_empty());
    [Some(own.to_owned()), revision, theirs]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(",")
}
