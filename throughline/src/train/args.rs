//! The options of `throughline train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use model_service::training::TableOptions;

use super::ranks::RanksArgs;
use crate::data_sets::WINE_QUALITY;
use crate::repository_args::RepositoryArgs;

#[derive(Clone, Debug, Args)]
pub(crate) struct TrainArgs {
    /// The models to train, one after the other; without any, give --table
    #[arg(value_parser = ["wine_quality", "text_sentiment"], value_name = "MODEL", required_unless_present_any = ["table", "workers"])]
    models: Vec<String>,
    /// The data set of the model, a CSV file; without it the built-in one
    #[arg(long, value_name = "FILE", requires = "models")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) table: TableArgs,
    #[command(flatten)]
    pub(crate) place: RepositoryArgs,
    /// Seed of the split and of the initial weights; the same seed gives the same weights
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// Passes over the training part [default: by the model, and by the rows of a table]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) epochs: Option<u64>,
    /// Learning rate at the first step [default: by the model]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    pub(crate) learning_rate: Option<f64>,
    /// Write no version; print the accuracy on held-out reviews, each held out once in this many folds
    /// (only `text_sentiment`)
    #[arg(long, value_name = "FOLDS", conflicts_with = "if_missing", value_parser = clap::value_parser!(u64).range(2..=100))]
    pub(crate) cross_validate: Option<u64>,
    /// Do nothing if the repository has a version already
    #[arg(long)]
    pub(crate) if_missing: bool,
    /// Train one layer on this encoder instead of a bag of words: a Hugging Face folder of a BERT
    /// sentence encoder, such as `text-setup` gets (only `text_sentiment`)
    #[arg(long, value_name = "DIR", requires = "models")]
    pub(crate) encoder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ranks: RanksArgs,
    /// How to show progress on standard error
    #[arg(long, env = "THROUGHLINE_PROGRESS", default_value = "auto", value_enum)]
    pub(crate) progress: ProgressMode,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal, nothing elsewhere
    Auto,
    /// Ten lines, for logs of CI and of jobs
    Plain,
    /// Nothing
    None,
}

/// A table of one's own.
#[derive(Clone, Debug, Args)]
pub(crate) struct TableArgs {
    /// Train on this CSV file of numbers and categories, load its features, and declare their view
    #[arg(long, value_name = "FILE", conflicts_with_all = ["models", "cross_validate"], requires_all = ["id", "target", "name"])]
    pub(crate) table: Option<PathBuf>,
    /// The column that identifies a row: the `data_id` of its prediction
    #[arg(long, value_name = "COLUMN", requires = "table")]
    id: Option<String>,
    /// The column to predict
    #[arg(long, value_name = "COLUMN", requires = "table")]
    target: Option<String>,
    /// Name of the model of the table: letters, digits and underscores
    #[arg(long = "model", id = "name", value_name = "NAME", requires = "table", value_parser = model_name)]
    pub(crate) name: Option<String>,
    /// Predict a number, not a class
    #[arg(long, requires = "table")]
    regression: bool,
    /// A column of numbers that are categories, such as a postcode; may be given several times
    #[arg(long, value_name = "COLUMN", requires = "table")]
    category: Vec<String>,
    /// Train without the rows that cannot be used, instead of not at all
    #[arg(long, requires = "table")]
    skip_bad_rows: bool,
    /// Where features are stored: a file, or an address of Redis [default: features.db in the data
    /// folder]
    #[arg(
        long,
        env = "FEATURE_STORE_DATABASE",
        hide_env_values = true,
        value_name = "PATH|URL"
    )]
    pub(crate) feature_store_database: Option<String>,
    /// Folder that the feature store reads more feature views from [default: feature-views in the
    /// data folder]
    #[arg(long, env = "FEATURE_STORE_FEATURE_VIEW_FOLDER", value_name = "DIR")]
    pub(crate) feature_view_folder: Option<PathBuf>,
}

impl TrainArgs {
    /// The models that are trained: the built-in ones, or that of the table.
    pub(crate) fn names(&self) -> Vec<&str> {
        if self.ranks.count().is_some() && self.models.is_empty() {
            return vec![WINE_QUALITY.model];
        }
        let names = self.models.iter().chain(&self.table.name);
        names.map(String::as_str).collect()
    }
}

impl TableArgs {
    /// The meaning of the columns; clap has checked that all are named.
    pub(crate) fn columns(&self, epochs: Option<usize>) -> TableOptions {
        TableOptions {
            id: self.id.clone().unwrap_or_default(),
            target: self.target.clone().unwrap_or_default(),
            regression: self.regression,
            categories: self.category.clone(),
            skip_bad_rows: self.skip_bad_rows,
            epochs,
        }
    }
}

/// The name becomes that of a feature view, which is a table of a database.
fn model_name(text: &str) -> Result<String, String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins = text
        .bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    if plain && begins && text.len() <= 50 {
        Ok(text.to_owned())
    } else {
        Err(
            "a name is up to 50 letters, digits and underscores, and begins with a letter"
                .to_owned(),
        )
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    number
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| "a learning rate is a number above 0".to_owned())
}
