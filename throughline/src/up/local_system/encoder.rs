//! The second variant of `text_sentiment`: one layer on an encoder, in a model service of its own.
//!
//! It is part of the system if there is a folder of an encoder, as `throughline text-setup` makes it.
//! The first start after that trains the layer; a start without the folder does nothing for it.

use std::path::PathBuf;

use anyhow::bail;

use super::{LocalSystem, listen};
use crate::cli::UpArgs;
use crate::data_sets::TEXT_SENTIMENT;
use crate::model_files::{self, RUST_WEIGHTS};
use crate::screen;
use crate::up::child::ChildProcess;

/// The part on the terminal and in the logs. In telemetry it is a `model-service` whose `ml.variant`
/// is [`VARIANT`].
pub(super) const NAME: &str = "model-service-encoder";
/// The variant of `text_sentiment` that it serves.
const VARIANT: &str = "canary";
/// Its name for the gateway: the Python worker has the variant's.
pub(super) const SERVICE: &str = "encoder";

/// The folder of the encoder, if the system is to have one.
pub(super) fn folder(args: &UpArgs) -> anyhow::Result<Option<PathBuf>> {
    if args.encoder.no_encoder {
        return Ok(None);
    }
    let folder = args.encoder_folder();
    if folder.join(RUST_WEIGHTS).is_file() {
        return Ok(Some(std::fs::canonicalize(folder)?));
    }
    if args.encoder.encoder.is_some() {
        bail!(
            "{} holds no encoder; `throughline text-setup` gets one",
            folder.display()
        );
    }
    Ok(None)
}

impl LocalSystem {
    /// Trains the layer, if it is missing.
    pub(super) fn train_encoder(&self) -> anyhow::Result<Option<ChildProcess>> {
        let repository = self.data.encoded();
        let Some(folder) = &self.encoder_folder else {
            return Ok(None);
        };
        if model_files::has_version(&repository, TEXT_SENTIMENT.model, RUST_WEIGHTS) {
            return Ok(None);
        }
        screen::say("training text_sentiment on the encoder, once …");
        let csv = self.data.csv(TEXT_SENTIMENT)?;
        let paths = [
            ("--data", csv),
            ("--model-repository", repository),
            ("--encoder", folder.clone()),
        ];
        let mut args = vec![TEXT_SENTIMENT.model.to_owned(), "--if-missing".to_owned()];
        for (flag, path) in paths {
            args.extend([flag.to_owned(), path.display().to_string()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.start_job("train", &args, None, "train-encoder")
            .map(Some)
    }

    /// Starts the service, if the system has an encoder, without waiting until it listens.
    pub(super) fn launch_encoder(&self) -> anyhow::Result<Option<ChildProcess>> {
        if self.encoder_folder.is_none() {
            return Ok(None);
        }
        let mut args = listen("--listen", self.args.encoder.encoder_port).to_vec();
        args.extend([
            "--model-repository".to_owned(),
            self.data.encoded().display().to_string(),
        ]);
        args.extend(["--variant", VARIANT].map(str::to_owned));
        if !self.args.no_faults {
            args.push("--allow-faults".to_owned());
        }
        self.spawn_as(NAME, "model-service", args, None).map(Some)
    }
}
