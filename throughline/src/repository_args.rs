//! The options of the commands that read or write versions of models: where these are.

use std::path::PathBuf;

use clap::Args;

/// Where the models of the commands that read or write versions are.
#[derive(Clone, Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// Where `up` keeps its data
    #[arg(
        long,
        env = "THROUGHLINE_DATA_DIR",
        default_value = ".throughline",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// Where versions of models are kept [default: models in the data folder]
    #[arg(long, env = "MODEL_REPOSITORY", value_name = "DIR")]
    model_repository: Option<PathBuf>,
}

impl RepositoryArgs {
    /// The folder of the models.
    pub(crate) fn repository(&self) -> PathBuf {
        let named = self.model_repository.clone();
        named.unwrap_or_else(|| self.data_dir.join("models"))
    }
}
