//! A file with targets for Prometheus, which watches it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::feed::Feed;
use super::prometheus;
use crate::notes::note_beside;
use crate::selection::Selection;

/// How long the file stays as it is at least: Prometheus reads it each time.
const PAUSE: Duration = Duration::from_millis(200);

/// When to write again what could not be written.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the file up to date, until the fleet is closed. That it cannot be written is noted once each time.
pub(super) async fn keep(path: PathBuf, feed: Feed) {
    let mut changed = feed.follow();
    let (mut written, mut is_failing) = (Vec::new(), false);
    loop {
        changed.borrow_and_update();
        let targets = prometheus::targets(&feed.now().0, &Selection::default());
        if targets != written {
            let (file, text) = (path.clone(), targets.clone());
            let outcome = spawn_blocking(move || replace(&file, &text)).await;
            match outcome.map_err(io::Error::other).flatten() {
                Ok(()) => (written, is_failing) = (targets, false),
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        note_beside(format!("--sd-file {}: {error}", path.display()));
                    }
                }
            }
            sleep(PAUSE).await;
        }
        let retry = async {
            match is_failing {
                true => sleep(RETRY).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

/// Writes a file as a whole: readers see the former one or this.
fn replace(path: &std::path::Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    // Prometheus reads files by patterns such as `*.json`.
    name.push(format!(".{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let written = std::fs::File::create(&fresh).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}
