//! `throughline rollback`: makes an earlier version of a model the one that answers.

use std::path::Path;

use anyhow::{Context, bail};
use model_service::repository::{ModelRepository, Target};

use crate::cli::{RollbackArgs, RollbackTarget};
use crate::screen;

/// Writes the choice into the model repository. The services that read it follow by themselves.
pub(crate) fn main(args: &RollbackArgs) -> anyhow::Result<()> {
    screen::say(roll_back(args)?);
    Ok(())
}

fn roll_back(args: &RollbackArgs) -> anyhow::Result<String> {
    let (model, root) = (&args.model, &args.model_repository);
    let repository = ModelRepository::new(root);
    let folder = || format!("the model repository {} cannot be read", root.display());
    repository.refresh().with_context(folder)?;
    check_exists(&repository, model, root)?;
    let before = current(&repository, model);
    let target = match args.to {
        None => Target::Previous,
        Some(RollbackTarget::Version(version)) => Target::Version(version),
        Some(RollbackTarget::Newest) => Target::Newest,
    };
    let version = repository.choose(model, target)?;
    let before = before.map_or_else(|| "none".to_owned(), |before| format!("version {before}"));
    let then = match target {
        Target::Newest => "Each newer version will answer as soon as it is there".to_owned(),
        Target::Version(_) | Target::Previous => format!(
            "It stays until `throughline rollback {model} --to newest`, also when a newer version is trained"
        ),
    };
    Ok(format!(
        "{model}: version {version} answers, before {before}. Services that run follow within seconds.\n{then}."
    ))
}

fn check_exists(repository: &ModelRepository, model: &str, root: &Path) -> anyhow::Result<()> {
    let models = repository.models();
    if models.contains_key(model) {
        return Ok(());
    }
    let names: Vec<&str> = models.keys().map(String::as_str).collect();
    bail!(
        "{} has no version of {model} that the model service in Rust can serve; its models: {}",
        root.display(),
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    );
}

fn current(repository: &ModelRepository, model: &str) -> Option<String> {
    let models = repository.models();
    let current = models.get(model)?.current()?;
    Some(current.manifest.version.clone())
}
