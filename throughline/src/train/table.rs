//! The features of a table: their view is declared and their rows are loaded, before the model
//! appears.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Parser;
use feature_store::StorageOptions;
use feature_store::materialize::{Format, ReadOptions, write_all};
use feature_store::time::Clock;
use feature_store::views::{FeatureView, Views};
use model_service::training::{Epoch, TableSummary, TrainingWatcher, feature_name};
use runtime::Health;

use super::args::TrainArgs;
use super::progress::Progress;
use crate::screen;

/// Follows the training of a table and publishes its features.
pub(crate) struct TableWatcher<'a> {
    args: &'a TrainArgs,
    model: &'a str,
    table: &'a Path,
    progress: Progress,
}

/// The feature store's own options, with their variables.
#[derive(Parser)]
struct Storage {
    #[command(flatten)]
    options: StorageOptions,
}

impl<'a> TableWatcher<'a> {
    pub(crate) fn new(
        args: &'a TrainArgs,
        model: &'a str,
        table: &'a Path,
        progress: Progress,
    ) -> Self {
        Self {
            args,
            model,
            table,
            progress,
        }
    }

    fn load(&self, summary: &TableSummary) -> anyhow::Result<()> {
        let storage = self.storage()?;
        let declaration = declaration(self.model, summary);
        let view = view(&storage, &declaration)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(self.write(&storage, &view, summary))?;
        let folder = storage
            .view_folder()
            .context("no folder of feature views")?;
        declare(&folder, self.model, &declaration)
            .with_context(|| format!("cannot write into {}", folder.display()))
    }

    fn storage(&self) -> anyhow::Result<StorageOptions> {
        let (table, data) = (&self.args.table, &self.args.place.data_dir);
        let database = table
            .feature_store_database
            .clone()
            .unwrap_or_else(|| data.join("features.db").display().to_string());
        let folder = self.folder();
        let args = [
            "throughline".as_ref(),
            "--database".as_ref(),
            database.as_ref(),
            "--feature-view-folder".as_ref(),
            folder.as_os_str(),
        ];
        Ok(Storage::try_parse_from(args)?.options)
    }

    fn folder(&self) -> PathBuf {
        let named = self.args.table.feature_view_folder.clone();
        named.unwrap_or_else(|| self.args.place.data_dir.join("feature-views"))
    }

    async fn write(
        &self,
        storage: &StorageOptions,
        view: &Arc<FeatureView>,
        summary: &TableSummary,
    ) -> anyhow::Result<()> {
        let (_, backend) = feature_store::open(storage, &Health::new())?;
        backend.ping().await?;
        backend.prepare(view).await?;
        backend.check(view).await.context(
            "an earlier table of this model had a column of this name with values of another type; choose another --model",
        )?;
        let options = ReadOptions {
            format: Format::Csv,
            map: map(summary),
            event_time: Clock::system().now(),
            max_future: storage.max_future,
        };
        let report = write_all(backend, view, File::open(self.table)?, &options).await?;
        // The rows that the training left out may be refused here, too.
        if let Some(refused) = report
            .refusals
            .iter()
            .find(|refused| !summary.skipped.iter().any(|row| row.line == refused.line))
        {
            bail!("line {} is refused: {}", refused.line, refused.reason);
        }
        let rows = report.rows.written + report.rows.outdated;
        screen::say(format!("{rows} rows are in the feature view {}", view.name));
        Ok(())
    }
}

impl TrainingWatcher for TableWatcher<'_> {
    fn loaded(&mut self, summary: &TableSummary) {
        let features = summary.features.len();
        screen::say(format!("{} rows, {features} features", summary.rows));
        for row in &summary.skipped {
            screen::warn(format!("left out: line {}: {}", row.line, row.reason));
        }
        for ignored in &summary.ignored {
            screen::warn(format!(
                "not used: column {} {}",
                ignored.column, ignored.reason
            ));
        }
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.progress.show(epoch);
    }

    fn publish(&mut self, summary: &TableSummary) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.load(summary)?)
    }
}

/// The view, if its name belongs to this model.
fn view(storage: &StorageOptions, text: &str) -> anyhow::Result<Arc<FeatureView>> {
    let base = Views::load(storage.feature_views.as_deref())?;
    let declared = Views::parse(text).context("the columns make no feature view")?;
    let view = declared.all().first().context("there is no view")?;
    if base.view(&view.name).is_some() {
        bail!(
            "the feature view {} belongs to another model; choose another --model",
            view.name
        );
    }
    Ok(Arc::clone(view))
}

/// Columns that have another name in the view.
fn map(summary: &TableSummary) -> Vec<(String, String)> {
    let id = (summary.id.clone(), feature_name(&summary.id));
    let features = summary.features.iter();
    let features = features.map(|feature| (feature.column.clone(), feature.name.clone()));
    std::iter::once(id)
        .chain(features)
        .filter(|(column, name)| column != name)
        .collect()
}

/// The view as the feature store reads it.
fn declaration(model: &str, summary: &TableSummary) -> String {
    let lookup = &summary.lookup;
    let mut text = format!(
        "# Written by `throughline train --table` for the model {model}, and again by its next training.\n\n\
         [[feature_view]]\nname = {:?}\njoin_keys = [{:?}]\nfeatures = [\n",
        lookup.feature_view, lookup.join_key
    );
    for feature in &summary.features {
        let dtype = if feature.is_category {
            "string"
        } else {
            "float64"
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "    {{ name = {:?}, dtype = {dtype:?} }},",
            feature.name
        );
    }
    text.push_str("]\n");
    text
}

/// Writes the file whole: a running feature store reads the folder.
fn declare(folder: &Path, model: &str, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let hidden = folder.join(format!(".{model}-{}", std::process::id()));
    let mut file = File::create(&hidden)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(hidden, folder.join(format!("{model}.toml")))
}
