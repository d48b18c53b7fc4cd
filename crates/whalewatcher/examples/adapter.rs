//! Watches an engine with an adapter of its own. The "engine" is a folder, `/run` or the argument: each
//! `NAME.pid` in it, as daemons write them, is a container while a process has that PID. The documentation of
//! `whalewatcher_core::adapter` lists what an adapter must guarantee.
#![allow(clippy::print_stdout, reason = "the example prints")]

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use futures_util::Stream;
use whalewatcher::adapter::poll;
use whalewatcher::adapter::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher::{Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Settings};

const EVERY: Duration = Duration::from_secs(1);

/// The client. There is no connection to lose, so it is the connection too.
#[derive(Clone)]
struct PidFiles(String);

impl EngineClient for PidFiles {
    type Connection = Self;

    fn engine_type(&self) -> &str {
        "pidfiles"
    }

    fn endpoint(&self) -> &str {
        &self.0
    }

    async fn connect(&self, _: &Settings) -> Result<Self, EngineError> {
        Ok(self.clone())
    }
}

impl EngineConnection for PidFiles {
    fn identity(&self) -> EngineIdentity {
        EngineIdentity::new(self.engine_type(), self.endpoint())
    }

    /// A folder sends no events, so it is polled.
    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        poll(self, EVERY, EVERY)
    }

    // Reads small files in memory, which takes microseconds. Calls that block longer belong on another thread.
    async fn list(&self) -> Result<Listing, EngineError> {
        let files = fs::read_dir(&self.0).and_then(|files| files.collect::<io::Result<Vec<_>>>());
        let files = files.map_err(|error| {
            let message = format!("cannot list {}", self.0);
            EngineError::new(ErrorKind::Unreachable, message).with_source(error)
        })?;
        let alive = files.iter().filter_map(|file| alive(&file.path()));
        Ok(alive.map(ListingEntry::Whole).collect::<Vec<_>>().into())
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        Ok(alive(&PathBuf::from(&self.0).join(format!("{id}.pid"))))
    }
}

/// Returns the container of a file, if its process exists.
fn alive(file: &Path) -> Option<Container> {
    let name = file.file_name()?.to_str()?.strip_suffix(".pid")?;
    let pid = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then(|| Container::new(name, name, pid))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "/run".to_owned());
    let handle = whalewatcher::watch(PidFiles(folder));
    handle.ready().await?;
    let (alive, mut changes) = handle.subscribe();
    print!("{alive}");
    while let Some(change) = changes.next().await {
        println!("{change}");
    }
    Ok(())
}
