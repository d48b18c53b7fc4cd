//! How a server is to be, before it starts.

use std::{path::PathBuf, sync::Arc};

use tokio::runtime::Handle;

use crate::{
    clock::Clock,
    grpc::{Hooks, Listening},
};

use super::{
    Call, Verdict,
    engine::Engine,
    error::Error,
    flavour::Flavour,
    server::{Identity, Server, Shared},
};

/// The PID namespace that it says it is in, as the first one of every Linux system.
pub(super) const PID_NAMESPACE: u64 = 4_026_531_836;

/// The largest message that containerd sends, in bytes.
pub(super) const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// Makes a [`Server`]; get one from [`Server::builder`].
#[derive(Debug)]
pub struct Builder {
    socket: Option<PathBuf>,
    clock: Clock,
    flavour: Flavour,
    uuid: Option<String>,
    version: Option<(String, String)>,
    pid: Option<u64>,
    first_pid: u32,
    largest_message: usize,
    hooks: Hooks<Call>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            socket: None,
            clock: Clock::real(),
            flavour: Flavour::default(),
            uuid: None,
            version: None,
            pid: None,
            first_pid: 4000,
            largest_message: LARGEST_MESSAGE,
            hooks: Hooks::default(),
        }
    }
}

impl Builder {
    /// Where the socket is to be made; the file must not exist yet. By default it is in a private folder of its
    /// own below the system's folder for temporary files.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// The engine's clock, real time by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Which containerd to play, 2.1 by default.
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// The engine's UUID. By default it is made up.
    pub fn uuid(mut self, uuid: impl Into<String>) -> Self {
        self.uuid = Some(uuid.into());
        self
    }

    /// The engine's version and revision, by default those of its flavour.
    pub fn version(mut self, version: impl Into<String>, revision: impl Into<String>) -> Self {
        self.version = Some((version.into(), revision.into()));
        self
    }

    /// The PID that the engine says it has, by default this process's.
    pub fn pid(mut self, pid: u64) -> Self {
        self.pid = Some(pid);
        self
    }

    /// The PID of the first task, 4000 by default. Each task and each exec takes the next.
    pub fn first_pid(mut self, pid: u32) -> Self {
        self.first_pid = pid;
        self
    }

    /// The largest message that it sends, in bytes, 16 MiB by default; for a larger one it has an error.
    pub fn largest_message(mut self, bytes: usize) -> Self {
        self.largest_message = bytes;
        self
    }

    /// A hook from the very first call on; see [`Server::on_call`].
    pub fn on_call(self, hook: impl Fn(&Call) -> Verdict + Send + Sync + 'static) -> Self {
        self.hooks.on_call(Arc::new(hook));
        self
    }

    /// A hook from the very first answer on; see [`Server::on_answer`].
    pub fn on_answer(self, hook: impl Fn(&Call, tonic::Code) -> Verdict + Send + Sync + 'static) -> Self {
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
        let (version, revision) =
            self.version.unwrap_or_else(|| (self.flavour.version().into(), self.flavour.revision().into()));
        let identity = Identity {
            flavour: self.flavour,
            uuid: self.uuid.unwrap_or_else(new_uuid),
            version,
            revision,
            pid: self.pid.unwrap_or_else(|| std::process::id().into()),
            pid_namespace: PID_NAMESPACE,
            largest_message: self.largest_message,
        };
        let engine = Engine::new(self.clock, self.first_pid);
        let shared = Shared::new(engine, identity, self.hooks);
        let listening = Listening::new(Arc::clone(&shared) as _, runtime, self.socket, "containerd.sock");
        Ok(Server::new(shared, Arc::new(listening.map_err(Error::listen)?)))
    }
}

pub(super) fn new_uuid() -> String {
    let mut random = fastrand::Rng::new();
    let mut group = |digits: usize| (0..digits).map(|_| random.digit(16)).collect::<String>();
    [8, 4, 4, 4, 12].map(&mut group).join("-")
}
