//! The Python worker as a part, started with the commands of model-service/python/README.md.

use std::path::PathBuf;

use anyhow::bail;

use super::{LocalSystem, listen};
use crate::cli::UpArgs;
use crate::model_files::{self, PYTHON_WEIGHTS};
use crate::python::{self, EnvironmentState, PythonEnvironment};
use crate::screen;
use crate::up::child::{ChildProcess, ChildSpec};

/// `service.name` of the worker.
pub(super) const NAME: &str = "model-service-python";
/// The variant of the models that it serves.
pub(super) const VARIANT: &str = "canary";

/// The worker's environment, if the system is to have a worker.
pub(super) fn environment(args: &UpArgs) -> anyhow::Result<Option<PythonEnvironment>> {
    if args.worker.no_python {
        return Ok(None);
    }
    let root = args.environment();
    let problem = match PythonEnvironment::find(&root)? {
        EnvironmentState::Ready(environment) => return Ok(Some(environment)),
        EnvironmentState::Missing if !args.worker.python => return Ok(None),
        EnvironmentState::Missing => "there is no Python environment in",
        EnvironmentState::Outdated => {
            "this program needs other versions than there are in the Python environment"
        }
    };
    let sentence = format!(
        "{problem} {}; `throughline python-setup` makes it",
        root.display()
    );
    if args.worker.python {
        bail!(sentence);
    }
    screen::warn(format!("without the Python worker: {sentence}"));
    Ok(None)
}

impl LocalSystem {
    /// Starts the worker, if the system has one, without waiting until it listens.
    pub(super) fn launch_worker(
        &self,
        feature_store: &str,
    ) -> anyhow::Result<Option<ChildProcess>> {
        let Some(environment) = &self.python else {
            return Ok(None);
        };
        let mut args = listen("--listen", self.args.worker.python_port).to_vec();
        args.extend([
            "--model-repository".to_owned(),
            self.data.models().display().to_string(),
        ]);
        args.extend(["--feature-store".to_owned(), feature_store.to_owned()]);
        args.extend(["--variant", VARIANT, "--exit-with-parent"].map(str::to_owned));
        if !self.args.no_faults {
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

    /// Trains the worker's model, if it is missing.
    pub(super) fn train_worker(
        &self,
        csv: &str,
        models: &str,
    ) -> anyhow::Result<Option<ChildProcess>> {
        let Some(environment) = &self.python else {
            return Ok(None);
        };
        if model_files::has_version(&self.data.models(), "wine_quality", PYTHON_WEIGHTS) {
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
        environment: &PythonEnvironment,
        name: &'static str,
        module: &str,
        args: Vec<String>,
        log: PathBuf,
    ) -> anyhow::Result<ChildProcess> {
        let (program, mut all) = environment.instrumented(module);
        all.extend(args);
        let mut env = python::instrumentation(name)?;
        env.extend(self.env.iter().cloned());
        ChildProcess::start(&ChildSpec {
            name,
            program: Some(program),
            args: all,
            env,
            // Python and `opentelemetry-instrument` import from the working directory first, and
            // the user's folder can have an `h2.py` of somebody else.
            folder: Some(environment.root().to_owned()),
            log,
        })
    }
}
