//! The views of the start and those of a folder, which may change while the process runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use runtime::Health;

use super::{FeatureView, Views, ViewsError};

/// All views of the moment.
pub struct LiveViews {
    base: Views,
    folder: Option<PathBuf>,
    current: RwLock<Arc<Views>>,
    /// The folder as it was last read.
    seen: Mutex<Files>,
    health: Health,
}

/// A file of the folder that declares nothing, and why.
#[derive(Debug, thiserror::Error)]
pub enum RejectedFile {
    /// It is no declaration of views.
    #[error(transparent)]
    Views(#[from] ViewsError),
    /// Another file was first.
    #[error("view {0} is declared elsewhere, too")]
    Taken(String),
}

/// The views after a change of the folder, before they are served.
pub(crate) struct FolderRead {
    views: Arc<Views>,
    new: Vec<Arc<FeatureView>>,
}

/// Size and modification time by file; a file that is replaced differs in one of them.
type Files = BTreeMap<PathBuf, (u64, SystemTime)>;

/// Key in the detail of `/readyz`.
const KEY: &str = "feature_views";

impl LiveViews {
    /// The views `base` and those in the folder, which need not exist yet. A file that is wrong is
    /// logged and left out.
    pub(crate) fn open(base: Views, folder: Option<PathBuf>, health: &Health) -> Self {
        let live = Self {
            current: RwLock::new(Arc::new(base.clone())),
            base,
            folder,
            seen: Mutex::default(),
            health: health.clone(),
        };
        if let Some(read) = live.read_folder() {
            live.publish(read);
        }
        live
    }

    /// The views of the moment.
    pub fn load(&self) -> Arc<Views> {
        Arc::clone(&self.current.read())
    }

    /// Reads the folder, if it has changed. Blocks on the file system.
    pub(crate) fn read_folder(&self) -> Option<FolderRead> {
        let folder = self.folder.as_deref()?;
        let mut seen = self.seen.lock();
        let files = files(folder);
        if files == *seen {
            return None;
        }
        let before = self.load();
        let (mut more, mut new, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for path in files.keys() {
            match self.declared(path, &more) {
                Ok(views) => {
                    for view in views {
                        let same = before.view(&view.name).filter(|old| old.is_like(&view));
                        let view = same.map_or(view, Arc::clone);
                        if same.is_none() {
                            new.push(Arc::clone(&view));
                        }
                        more.push(view);
                    }
                }
                Err(error) => reasons.push(rejected(path, &error)),
            }
        }
        *seen = files;
        let reasons = (!reasons.is_empty()).then(|| reasons.join("; "));
        self.health.detail(KEY, reasons);
        let views = Arc::new(self.base.with(more));
        Some(FolderRead { views, new })
    }

    /// Serves the views that were read.
    pub(crate) fn publish(&self, read: FolderRead) {
        *self.current.write() = read.views;
    }

    /// The views of one file.
    fn declared(
        &self,
        path: &Path,
        before: &[Arc<FeatureView>],
    ) -> Result<Vec<Arc<FeatureView>>, RejectedFile> {
        let views = Views::load(Some(path))?;
        let taken = self.base.all().iter().chain(before);
        for view in views.all() {
            let name = &view.name;
            if taken
                .clone()
                .any(|other| other.name.eq_ignore_ascii_case(name))
            {
                return Err(RejectedFile::Taken(name.to_string()));
            }
        }
        Ok(views.all)
    }
}

impl FolderRead {
    /// The views that were not served before.
    pub(crate) fn new_views(&self) -> &[Arc<FeatureView>] {
        &self.new
    }
}

/// The declarations in the folder. A hidden file is not complete yet.
fn files(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if hidden || path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        if let Ok(metadata) = entry.metadata()
            && let Ok(modified) = metadata.modified()
        {
            files.insert(path, (metadata.len(), modified));
        }
    }
    files
}

fn rejected(path: &Path, error: &RejectedFile) -> String {
    let reason = format!("{}: {}", path.display(), runtime::chain(error));
    tracing::warn!(
        name: "feature_store.views_rejected",
        { error = reason },
        "the views of {reason} are not served"
    );
    reason
}
