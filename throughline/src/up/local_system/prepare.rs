//! What has to exist before the services start: trained models, and features in their database.

use std::convert::Infallible;

use feature_store::backend::Database;

use super::LocalSystem;
use crate::data_sets::{DataSet, TEXT_SENTIMENT, WINE_QUALITY};
use crate::model_files::{self, RUST_WEIGHTS};
use crate::screen;
use crate::up::child::{ChildProcess, ChildSpec};

impl LocalSystem {
    /// Trains the models and loads the features, side by side, as far as they are missing.
    pub(super) async fn prepare(&mut self) -> anyhow::Result<()> {
        let csv = self.data.csv(WINE_QUALITY)?.display().to_string();
        let models = self.data.models().display().to_string();
        let mut jobs = Vec::new();
        jobs.extend(self.train(WINE_QUALITY, "1,599 wines", "train")?);
        jobs.extend(self.train(TEXT_SENTIMENT, "2,943 snippets of reviews", "train-texts")?);
        let database = self.feature_database().to_string();
        if !self.has_features(&database) {
            screen::say("loading features of 1,599 wines …");
            jobs.push(self.materialize(&csv)?);
        }
        jobs.extend(self.train_worker(&csv, &models)?);
        jobs.extend(self.train_encoder()?);
        for job in jobs {
            job.finish().await?;
        }
        std::fs::write(self.data.features_complete(), database)?;
        Ok(())
    }

    /// Trains the model of a data set, unless it has a version.
    fn train(&self, data: DataSet, rows: &str, log: &str) -> anyhow::Result<Option<ChildProcess>> {
        let models = self.data.models();
        if model_files::has_version(&models, data.model, RUST_WEIGHTS) {
            return Ok(None);
        }
        screen::say(format!("training {} on {rows} …", data.model));
        let (csv, models) = (
            self.data.csv(data)?.display().to_string(),
            models.display().to_string(),
        );
        let args = [
            data.model,
            "--data",
            &csv,
            "--model-repository",
            &models,
            "--if-missing",
        ];
        self.start_job("train", &args, None, log).map(Some)
    }

    fn materialize(&self, csv: &str) -> anyhow::Result<ChildProcess> {
        let view = ["--view", "wine_features", "--map", "data_id=wine_id"];
        let args = [&["materialize", "--file", csv], &view[..]].concat();
        let database = ("FEATURE_STORE_DATABASE".to_owned(), self.feature_address());
        self.start_job("feature-store", &args, Some(database), "materialize")
    }

    /// Starts a subcommand that does its work and exits.
    pub(super) fn start_job(
        &self,
        name: &'static str,
        args: &[&str],
        variable: Option<(String, String)>,
        log: &str,
    ) -> anyhow::Result<ChildProcess> {
        let args = [&[name], args].concat();
        ChildProcess::start(&ChildSpec {
            name,
            program: None,
            args: args.into_iter().map(str::to_owned).collect(),
            env: self.env.iter().cloned().chain(variable).collect(),
            folder: None,
            log: self.data.log(log),
        })
    }

    /// The address of the features as the feature store takes it, which may have a password in it.
    pub(super) fn feature_address(&self) -> String {
        match &self.args.feature_store_database {
            Some(address) => address.clone(),
            None => self.data.features().display().to_string(),
        }
    }

    /// The parsed address; its text has no password.
    pub(super) fn feature_database(&self) -> Database {
        self.feature_address()
            .parse()
            .unwrap_or_else(|never: Infallible| match never {})
    }

    /// Whether an earlier start has loaded all features into this database.
    fn has_features(&self, database: &str) -> bool {
        let removed = self.args.feature_store_database.is_none() && !self.data.features().exists();
        !removed
            && std::fs::read_to_string(self.data.features_complete())
                .is_ok_and(|complete| complete == database)
    }
}
