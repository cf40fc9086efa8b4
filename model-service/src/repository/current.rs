//! The file that says which version of a model is the current one.
//!
//! It lies beside the versions, so it survives restarts and holds for every service that reads the
//! folder. Each framework has its own, because a service can serve only the versions of one.

use std::fs;
use std::io;
use std::path::Path;

use super::FRAMEWORK;
use super::write::{sync, version_number, write_synced};

/// Which version answers when a request names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The highest that is ready, whenever it comes. There is no file.
    #[default]
    Newest,
    Version(u64),
    /// None. The model is not served at all.
    Unloaded,
    /// The file says none of this; why.
    Unreadable(String),
}

/// The content of the file for [`Choice::Unloaded`].
const UNLOADED: &str = "unloaded";

impl Choice {
    /// The choice in the folder of a model.
    pub(super) fn read(folder: &Path) -> Self {
        let file = file_name();
        match fs::read_to_string(folder.join(&file)) {
            Ok(text) => Self::parse(text.trim())
                .unwrap_or_else(|| Self::Unreadable(format!("{file} is no number of a version"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Newest,
            Err(error) => Self::Unreadable(format!("{file} cannot be read: {error}")),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            UNLOADED => Some(Self::Unloaded),
            number => version_number(number).map(Self::Version),
        }
    }

    /// Writes the choice whole or not at all, and durably.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let file = folder.join(file_name());
        let text = match self {
            Self::Version(version) => version.to_string(),
            Self::Unloaded => UNLOADED.to_owned(),
            Self::Newest | Self::Unreadable(_) => {
                return match fs::remove_file(&file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => sync(folder),
                };
            }
        };
        // A name of its own for each writer, so that none renames the half of another.
        let temporary = folder.join(format!(".{}-{}", file_name(), std::process::id()));
        let written = write_synced(&temporary, format!("{text}\n").as_bytes())
            .and_then(|()| fs::rename(&temporary, &file));
        if written.is_err() {
            // What remains is hidden and harmless.
            let _ = fs::remove_file(&temporary);
        }
        written.and_then(|()| sync(folder))
    }
}

fn file_name() -> String {
    format!("current.{FRAMEWORK}")
}
