//! Notices sockets in the usual places at once, where the system can watch folders.

use std::future::pending;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
use whalewatcher_adapter::Folders;

use crate::look::Looker;
use crate::options::Options;

/// The folders in which sockets usually appear.
#[derive(Default)]
pub(crate) struct WatchedFolders {
    #[cfg(target_os = "linux")]
    folders: Option<Folders>,
    paths: Vec<PathBuf>,
}

impl WatchedFolders {
    /// Watches the folders of all paths, if these have changed or a folder has.
    pub(crate) fn update(&mut self, options: &Options) {
        let paths = Looker::paths(options);
        if paths != self.paths {
            self.paths = paths;
            self.renew();
        }
        #[cfg(target_os = "linux")]
        if self.folders.is_none() {
            self.folders = Folders::new().ok();
            for path in &self.paths {
                if let Some(folders) = &mut self.folders {
                    // What cannot be watched is looked at all the same.
                    let _ = folders.add(path);
                }
            }
        }
    }

    /// Has the folders watched again: some may be others by now.
    pub(crate) fn renew(&mut self) {
        #[cfg(target_os = "linux")]
        {
            self.folders = None;
        }
    }

    /// Resolves once a socket may have appeared.
    pub(crate) async fn changed(&self) {
        #[cfg(target_os = "linux")]
        if let Some(folders) = &self.folders
            && folders.changed().await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }
}
