//! The configuration of a server.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{clock::Clock, counting::Counting};

use super::{
    Error,
    engine::Engine,
    events::Hub,
    flavour::Flavour,
    hooks::{Hooks, Request, Verdict},
    identity::{Identity, new_id},
    listening::Address,
    server::{Server, Shared},
};

/// Builds a [`Server`]; [`Server::builder`] returns one.
#[derive(Debug)]
pub struct Builder {
    socket: Option<PathBuf>,
    tcp: bool,
    clock: Clock,
    flavour: Flavour,
    seed: Option<u64>,
    first_pid: u32,
    id: Option<String>,
    new_id_each_time: bool,
    version: String,
    api: String,
    api_min: String,
    host: String,
    ring: usize,
    queue: usize,
    patience: Duration,
    endless_replays: bool,
    hooks: Hooks,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            socket: None,
            tcp: false,
            clock: Clock::real(),
            flavour: Flavour::Docker,
            seed: None,
            first_pid: 4000,
            id: None,
            new_id_each_time: false,
            version: "28.5.2".into(),
            api: "1.51".into(),
            api_min: "1.24".into(),
            host: "whalewatcher-testkit".into(),
            ring: 256,
            queue: 1024,
            patience: Duration::from_millis(100),
            endless_replays: false,
            hooks: Hooks::default(),
        }
    }
}

impl Builder {
    /// Sets the path of the socket; the file must not exist yet. By default it is in a private folder below the
    /// system's folder for temporary files.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Sets whether the server listens on a free TCP port of 127.0.0.1 too. Not by default.
    pub fn tcp(mut self, tcp: bool) -> Self {
        self.tcp = tcp;
        self
    }

    /// Sets the engine's clock, real time by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the kind of engine, Docker by default.
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Makes the IDs of containers and of the engine the same each time. By default they are random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the PID of the first container's process, 4000 by default. Each start takes the next.
    pub fn first_pid(mut self, pid: u32) -> Self {
        self.first_pid = pid;
        self
    }

    /// Sets the engine's ID. By default it is random.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets whether each `/info` contains another engine ID, as with podman 4.
    pub fn new_id_each_time(mut self, new: bool) -> Self {
        self.new_id_each_time = new;
        self
    }

    /// Sets the engine's version, 28.5.2 by default.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the newest and the oldest API version of the engine, 1.51 and 1.24 by default.
    pub fn api_versions(mut self, newest: impl Into<String>, oldest: impl Into<String>) -> Self {
        self.api = newest.into();
        self.api_min = oldest.into();
        self
    }

    /// Sets the host name in `/info`.
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.host = name.into();
        self
    }

    /// Sets how many of the last events the engine remembers for requests with `since`, 256 by default.
    pub fn ring(mut self, events: usize) -> Self {
        self.ring = events;
        self
    }

    /// Sets how many events are queued for a listener, 1024 by default, at least 1, and how long one more waits for
    /// room before the listener is skipped, 100 ms by default.
    pub fn listener_queue(mut self, events: usize, patience: Duration) -> Self {
        self.queue = events.max(1);
        self.patience = patience;
        self
    }

    /// Sets whether event streams continue after `until`, as in Docker Desktop and old podman. Not by default.
    pub fn endless_replays(mut self, endless: bool) -> Self {
        self.endless_replays = endless;
        self
    }

    /// Adds a hook that sees the very first request, too; see [`Server::on_request`].
    pub fn on_request(self, hook: impl Fn(&Request) -> Verdict + Send + Sync + 'static) -> Self {
        self.hooks.on_call(Arc::new(hook));
        self
    }

    /// Adds a hook that sees the very first answer, too; see [`Server::on_answer`].
    pub fn on_answer(self, hook: impl Fn(&Request, u16) -> Verdict + Send + Sync + 'static) -> Self {
        self.hooks.on_answer(Arc::new(hook));
        self
    }

    /// Starts the server on the tokio runtime of the caller. It listens when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime, [`Error::Listen`] if the socket cannot be made.
    pub fn start(self) -> Result<Server, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let mut random = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let (folder, socket) = match self.socket {
            Some(socket) => (None, socket),
            None => {
                let folder = tempfile::Builder::new().prefix("whale").tempdir().map_err(|source| {
                    Error::Listen { endpoint: std::env::temp_dir().display().to_string(), source }
                })?;
                let socket = folder.path().join("docker.sock");
                (Some(folder), socket)
            }
        };
        let identity = Identity {
            id: self.id.unwrap_or_else(|| new_id(&mut random)),
            new_id_each_time: self.new_id_each_time,
            version: self.version,
            api: self.api,
            api_min: self.api_min,
            host: self.host,
        };
        let hub = Hub::new(self.ring, self.queue, self.patience);
        let mut engine = Engine::new(self.clock, self.flavour, random, self.first_pid, hub);
        engine.endless_replays = self.endless_replays;
        let tcp = self.tcp.then_some((Ipv4Addr::LOCALHOST, 0).into());
        let shared = Shared::new(engine, identity, self.hooks, Counting::default());
        Server::listen(shared, runtime, Address { socket, tcp }, folder)
    }
}
