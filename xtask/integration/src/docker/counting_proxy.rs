//! A socket in front of the engine's that passes everything on and counts the requests for lists and inspections.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What was asked so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) lists: usize,
    /// How often each container was inspected.
    pub(crate) inspections: BTreeMap<String, usize>,
    pub(crate) connections: usize,
}

impl Requests {
    pub(crate) fn inspections_of<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> usize {
        ids.into_iter().filter_map(|id| self.inspections.get(id)).sum()
    }

    fn take_in(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let Some(target) = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) else { return };
        let path = target.split('?').next().unwrap_or(target);
        let Some((_, path)) = path.split_once("/containers/") else { return };
        match path.split_once('/') {
            None if path == "json" => self.lists += 1,
            Some((id, "json")) => *self.inspections.entry(id.to_owned()).or_default() += 1,
            _ => {}
        }
    }
}

/// The proxy; dropping it cuts its connections and leaves its socket file behind, as a killed engine does.
pub(crate) struct CountingProxy {
    path: PathBuf,
    requests: Arc<Mutex<Requests>>,
    _task: AbortOnDropHandle<()>,
}

impl CountingProxy {
    /// Listens at `path`, where no file may be, and passes on to `engine`.
    pub(crate) fn start(path: PathBuf, engine: &Path) -> Result<CountingProxy> {
        let listener =
            UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let requests = Arc::new(Mutex::new(Requests::default()));
        let task = tokio::spawn(serve(listener, engine.to_owned(), requests.clone()));
        Ok(CountingProxy { path, requests, _task: AbortOnDropHandle::new(task) })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    pub(crate) fn requests(&self) -> Requests {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: UnixListener, engine: PathBuf, requests: Arc<Mutex<Requests>>) {
    // Dropped with this task, which cuts them all.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        requests.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
        let (engine, requests) = (engine.clone(), requests.clone());
        connections.spawn(async move {
            // When either side closes its connection, so does the proxy on the other.
            let _ = pass_on(client, &engine, &requests).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass_on(client: UnixStream, engine: &Path, requests: &Mutex<Requests>) -> io::Result<()> {
    let engine = UnixStream::connect(engine).await?;
    let (mut from_engine, to_engine) = engine.into_split();
    let (from_client, mut to_client) = client.into_split();
    tokio::select! {
        asked = count(from_client, to_engine, requests) => asked,
        answered = copy(&mut from_engine, &mut to_client) => answered.map(drop),
    }
}

/// Passes on what is asked, and looks at each line of it.
async fn count(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    requests: &Mutex<Requests>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut line = Vec::new();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        for byte in &buffer[..length] {
            match byte {
                b'\n' => {
                    requests.lock().unwrap_or_else(PoisonError::into_inner).take_in(&line);
                    line.clear();
                }
                byte => line.push(*byte),
            }
        }
        to.write_all(&buffer[..length]).await?;
    }
}
