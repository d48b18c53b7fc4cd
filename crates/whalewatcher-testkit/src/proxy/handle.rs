//! The proxy, as a test uses it: addresses, faults and statistics.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::counting::Counting;

use super::{
    armed::Faults,
    fault::{Fault, FaultKind, Refusal},
    link::{End, Link},
    listener::{Listener, Place, any_port},
    relay::relay,
    socket::{Endpoint, Error},
    stats::{FaultId, Stats},
};

/// A proxy between clients and an engine. Clones are the same proxy; dropping the last one closes all connections and
/// removes the socket.
///
/// The methods neither block nor wait, except for those that are `async`, and may be called from any thread.
#[derive(Clone, Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

/// The state that the proxy and its connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upstream: Endpoint,
    pub(super) faults: Faults,
    pub(super) stats: Counting<Stats>,
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    next: u64,
    open: BTreeMap<u64, Arc<Link>>,
    over: bool,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_all(&self, how: End) {
        for link in self.links().open.values() {
            link.end(how);
        }
    }
}

/// Ends all tasks when it is dropped.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    listener: Arc<Listener>,
    accepting: AbortHandle,
    /// The refusals that are not lifted.
    refusals: Mutex<BTreeMap<FaultId, Refusal>>,
    /// A folder that is removed with its content at the end.
    _folder: Option<TempDir>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.accepting.abort();
        self.listener.close(Refusal::Gone);
        self.shared.links().over = true;
        self.shared.end_all(End::Close);
    }
}

/// Builds a [`Proxy`]; [`Proxy::builder`] returns one.
#[derive(Debug, Default)]
pub struct Builder {
    place: Option<Place>,
    upstream: Option<String>,
}

impl Builder {
    /// Listens on a unix socket with this path, which must not exist. By default the path is in a folder of the
    /// proxy's own.
    #[must_use]
    pub fn listen_unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::Unix(path.into()));
        self
    }

    /// Listens on a free TCP port, for this host only.
    #[must_use]
    pub fn listen_tcp(mut self) -> Self {
        self.place = Some(Place::Tcp(any_port()));
        self
    }

    /// Sets the engine: `unix:///path`, `/path` or `tcp://host:port`. It need not listen yet.
    #[must_use]
    pub fn upstream(mut self, endpoint: impl Into<String>) -> Self {
        self.upstream = Some(endpoint.into());
        self
    }

    /// Starts the proxy on the tokio runtime of the caller. It listens when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime; [`Error::NoUpstream`] and [`Error::Endpoint`] without a usable
    /// upstream; [`Error::Listen`] if the socket cannot be made.
    pub fn start(self) -> Result<Proxy, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let upstream = self.upstream.ok_or(Error::NoUpstream)?.parse()?;
        let (folder, place) = match self.place {
            Some(place) => (None, place),
            None => {
                let folder = tempfile::Builder::new().prefix("whale").tempdir().map_err(|source| {
                    Error::Listen { endpoint: std::env::temp_dir().display().to_string(), source }
                })?;
                let path = folder.path().join("proxy.sock");
                (Some(folder), Place::Unix(path))
            }
        };
        let listener = Arc::new(Listener::new(runtime.clone(), place)?);
        let (faults, stats, links) = (Faults::default(), Counting::default(), Mutex::default());
        let shared = Arc::new(Shared { upstream, faults, stats, links });
        let accepting = runtime.spawn(accept(listener.clone(), shared.clone())).abort_handle();
        let owner = Owner {
            shared: shared.clone(),
            listener,
            accepting,
            refusals: Mutex::default(),
            _folder: folder,
        };
        Ok(Proxy { shared, owner: Arc::new(owner) })
    }
}

async fn accept(listener: Arc<Listener>, shared: Arc<Shared>) {
    loop {
        let Ok(socket) = listener.accept().await else {
            // Most likely no descriptor is left: trying again at once would only burn time.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(open) = Open::new(&shared) else { return };
        tokio::spawn(async move { relay(&open.shared, &open.link, socket).await });
    }
}

/// A connection, counted for as long as it is open.
struct Open {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl Open {
    /// Returns nothing once the proxy has ended.
    fn new(shared: &Arc<Shared>) -> Option<Self> {
        let mut links = shared.links();
        if links.over {
            return None;
        }
        let link = Arc::new(Link::new(links.next));
        links.next += 1;
        links.open.insert(link.number, link.clone());
        drop(links);
        shared.stats.count(|stats| {
            stats.accepted += 1;
            stats.open += 1;
        });
        Some(Self { shared: shared.clone(), link })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.links().open.remove(&self.link.number);
        self.shared.stats.count(|stats| stats.open -= 1);
    }
}

/// Creation and addresses.
impl Proxy {
    /// Returns a builder; by default the proxy listens on a unix socket of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the endpoint: `unix:///…` or `tcp://127.0.0.1:…`.
    pub fn endpoint(&self) -> String {
        self.owner.listener.endpoint().to_string()
    }
}

/// Faults.
impl Proxy {
    /// Injects a fault. Busy connections are affected with their next bytes; others when they are next polled, which
    /// is before anything that a client does after this call reaches the engine.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] if a socket file cannot be replaced.
    pub fn inject(&self, fault: Fault) -> Result<FaultId, Error> {
        let id = self.shared.faults.new_id();
        match fault.kind {
            FaultKind::Refuse(how) => {
                self.refusals().insert(id, how);
                self.owner.listener.close(how);
                self.shared.stats.count(|stats| stats.hit(id));
            }
            FaultKind::ReplaceSocket { cut } => {
                self.owner.listener.close(Refusal::Gone);
                if cut {
                    self.cut_all();
                }
                self.open()?;
                self.shared.stats.count(|stats| stats.hit(id));
            }
            _ => {
                let next = self.shared.links().next;
                self.shared.faults.arm(id, fault, next);
            }
        }
        Ok(id)
    }

    /// Lifts a fault. Its effects stay. Does nothing if it was lifted already.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] if it was a refusal and the proxy cannot listen again.
    pub fn lift(&self, fault: FaultId) -> Result<(), Error> {
        self.lift_all(|id| id == fault)
    }

    /// Lifts all faults.
    ///
    /// # Errors
    ///
    /// As [`lift`](Self::lift).
    pub fn heal(&self) -> Result<(), Error> {
        self.lift_all(|_| true)
    }

    /// Closes all connections; new ones are accepted.
    pub fn cut_all(&self) {
        self.shared.end_all(End::Close);
    }

    /// Like [`cut_all`](Self::cut_all), but resets TCP connections.
    pub fn reset_all(&self) {
        self.shared.end_all(End::Reset);
    }

    fn lift_all(&self, which: impl Fn(FaultId) -> bool) -> Result<(), Error> {
        self.shared.faults.lift(&which);
        let mut refusals = self.refusals();
        let before = refusals.len();
        refusals.retain(|id, _| !which(*id));
        let lifted = refusals.len() < before;
        drop(refusals);
        if lifted { self.open() } else { Ok(()) }
    }

    /// Listens, unless a refusal prevents it.
    fn open(&self) -> Result<(), Error> {
        match self.refusals().values().last() {
            Some(how) => {
                self.owner.listener.close(*how);
                Ok(())
            }
            None => self.owner.listener.open(),
        }
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<FaultId, Refusal>> {
        self.owner.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Statistics.
impl Proxy {
    /// Returns the statistics.
    pub fn stats(&self) -> Stats {
        self.shared.stats.now()
    }

    /// Resolves once the statistics match, with these. There is no time limit.
    pub async fn until(&self, wanted: impl FnMut(&Stats) -> bool) -> Stats {
        self.shared.stats.until(wanted).await
    }

    /// Resolves once so many connections are open. There is no time limit.
    pub async fn until_open(&self, count: usize) {
        self.until(|stats| stats.open == count).await;
    }

    /// Resolves once so many requests were seen whose method and path contain this. There is no time limit.
    pub async fn until_requests(&self, containing: &str, count: u64) {
        self.until(|stats| stats.requests_of(containing) >= count).await;
    }

    /// Resolves once a fault has taken effect so many times, as [`Stats::hits_of`] counts. There is no time limit.
    pub async fn until_hit(&self, fault: FaultId, times: u64) {
        self.until(|stats| stats.hits_of(fault) >= times).await;
    }
}
