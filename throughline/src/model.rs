//! `throughline model`: models that were trained elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model_service::repository::{AddOptions, Manifest, add};

use crate::repository_args::RepositoryArgs;
use crate::screen;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Add a BERT sentence encoder or sequence classifier as a new version to the model repository; a
    /// running service answers with it within two seconds
    Add(AddArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AddArgs {
    /// A Hugging Face folder with config.json, tokenizer.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Name of the model: letters, digits, `_`, `-` and `.` [default: the name of the folder]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    place: RepositoryArgs,
}

pub(crate) fn main(command: &ModelCommand) -> anyhow::Result<()> {
    let ModelCommand::Add(args) = command;
    let model_repository = args.place.repository();
    let manifest = add(&AddOptions {
        folder: args.from.clone(),
        name: args.name.clone(),
        model_repository: model_repository.clone(),
    })?;
    let place = model_repository
        .join(&manifest.name)
        .join(&manifest.version);
    screen::say(format!("{}\n{}", summary(&manifest), place.display()));
    Ok(())
}

fn summary(manifest: &Manifest) -> String {
    let Manifest { name, version, .. } = manifest;
    let encoder = manifest
        .text
        .as_ref()
        .and_then(|text| text.encoder.as_ref());
    let (layers, width) = encoder.map_or((0, 0), |encoder| {
        (encoder.config.num_hidden_layers, encoder.config.hidden_size)
    });
    if manifest.classes.is_empty() {
        return format!(
            "{name} version {version}: a sentence encoder of {layers} layers; its output `embedding` has {width} values for a text"
        );
    }
    let classes = manifest.classes.join(", ");
    format!(
        "{name} version {version}: a classifier of texts with {layers} layers; its classes are {classes}"
    )
}
