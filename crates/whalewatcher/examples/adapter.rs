//! Watches with an adapter of our own. The "engine" is a folder, `/run` or the argument: each `NAME.pid` in it, as daemons
//! write them, is a container while a process has that PID. What an adapter must guarantee is in the documentation of
//! `whalewatcher_core::adapter`.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use futures_util::Stream;
use whalewatcher::adapter::poll;
use whalewatcher::adapter::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher::{Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Settings};

const EVERY: Duration = Duration::from_secs(1);

/// What is configured. It has no connection to lose, so it is its own.
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

    /// Nothing sends events, so the folder is listed again and again.
    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        poll(self, EVERY, EVERY)
    }

    // Small files in memory: reading them takes microseconds. Whatever can block for longer belongs on another thread.
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

/// The container of this file, if it has a process.
fn alive(file: &Path) -> Option<Container> {
    let name = file.file_name()?.to_str()?.strip_suffix(".pid")?;
    let pid = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then(|| Container::new(name, name, pid))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "/run".to_owned());
    let watching = whalewatcher::watch(PidFiles(folder));
    watching.ready().await?;
    let (alive, mut changes) = watching.subscribe();
    print!("{alive}");
    while let Some(change) = changes.next().await {
        println!("{change}");
    }
    Ok(())
}
