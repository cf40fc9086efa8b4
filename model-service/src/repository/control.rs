//! Changes of what is served: another version, or none.

use std::io;

use super::current::Choice;
use super::index::{ModelRepository, ModelVersions, NotServed};
use super::write::is_name;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    NotServed(NotServed),
    #[error("version {0} of model {1} is the oldest that can be served")]
    Oldest(u64, String),
    #[error("the model repository cannot be read")]
    Read(#[source] io::Error),
    #[error("the model repository cannot be written, so nothing is changed")]
    Write(#[source] io::Error),
}

/// Which version to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The highest, and each higher one that comes later.
    Newest,
    /// This one, also when a higher one comes.
    Version(u64),
    /// The highest below the current one.
    Previous,
}

impl ModelRepository {
    /// Makes a version the current one, after it was read whole. Returns its number. If it cannot
    /// be served, nothing changes. Blocks on the file system.
    pub fn choose(&self, name: &str, target: Target) -> Result<u64, ControlError> {
        let _changing = self.refreshing.lock();
        let versions = self.read(name)?;
        let version = match target {
            Target::Newest => versions.highest().ok_or_else(|| unknown(name))?,
            Target::Version(version) => version,
            Target::Previous => previous(name, &versions)?,
        };
        match versions.state(version) {
            Some(Ok(())) => {}
            Some(Err(reason)) => {
                return Err(ControlError::NotServed(NotServed::NotReady {
                    model: name.to_owned(),
                    reason: format!("version {version}: {reason}"),
                }));
            }
            None => {
                return Err(ControlError::NotServed(NotServed::UnknownVersion {
                    model: name.to_owned(),
                    version: version.to_string(),
                }));
            }
        }
        let choice = match target {
            Target::Newest => Choice::Newest,
            Target::Version(_) | Target::Previous => Choice::Version(version),
        };
        self.change(name, versions, choice)?;
        Ok(version)
    }

    /// Stops serving a model. Requests in flight are answered.
    pub fn unload(&self, name: &str) -> Result<(), ControlError> {
        let _changing = self.refreshing.lock();
        let versions = self.read(name)?;
        self.change(name, versions, Choice::Unloaded)
    }

    /// The versions that the folder of a model has now.
    fn read(&self, name: &str) -> Result<ModelVersions, ControlError> {
        let folder = self.root.join(name);
        if !is_name(name) || !folder.is_dir() {
            return Err(unknown(name));
        }
        let known = self.models().get(name).cloned().unwrap_or_default();
        let versions = known
            .retried()
            .scanned(name, &folder, false)
            .map_err(ControlError::Read)?;
        if versions.is_foreign() || versions.highest().is_none() {
            return Err(unknown(name));
        }
        Ok(versions)
    }

    fn change(
        &self,
        name: &str,
        versions: ModelVersions,
        choice: Choice,
    ) -> Result<(), ControlError> {
        choice
            .write(&self.root.join(name))
            .map_err(ControlError::Write)?;
        let mut models = (*self.models()).clone();
        models.insert(name.to_owned(), versions.with_choice(name, choice));
        self.replace(models);
        Ok(())
    }
}

/// The highest version below the current one that can be served.
fn previous(name: &str, versions: &ModelVersions) -> Result<u64, ControlError> {
    let current = versions.current().ok_or_else(|| {
        ControlError::NotServed(if versions.is_unloaded() {
            NotServed::Unloaded(name.to_owned())
        } else {
            versions.not_ready(name)
        })
    })?;
    let current = current.manifest.version.parse().unwrap_or(0);
    let below = versions.numbers().filter(|version| *version < current);
    below
        .max()
        .ok_or_else(|| ControlError::Oldest(current, name.to_owned()))
}

fn unknown(name: &str) -> ControlError {
    ControlError::NotServed(NotServed::UnknownModel(name.to_owned()))
}

#[cfg(test)]
mod tests;
