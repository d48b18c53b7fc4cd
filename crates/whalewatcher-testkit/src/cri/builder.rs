//! How a server is to be, before it starts.

use std::{path::PathBuf, sync::Arc};

use tokio::runtime::Handle;
use tonic::Code;

use crate::{
    clock::Clock,
    containerd::Beneath,
    grpc::{Hooks, Listening},
};

use super::{
    Call, Verdict,
    engine::Engine,
    error::Error,
    flavour::Flavour,
    server::{Identity, Server, Shared},
};

/// Makes a [`Server`]; get one from [`Server::builder`].
#[derive(Debug)]
pub struct Builder {
    socket: Option<PathBuf>,
    clock: Clock,
    flavour: Flavour,
    version: Option<(String, String)>,
    pid: Option<u64>,
    first_pid: u32,
    largest_message: Option<usize>,
    hooks: Hooks<Call>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            socket: None,
            clock: Clock::real(),
            flavour: Flavour::default(),
            version: None,
            pid: None,
            first_pid: 4000,
            largest_message: None,
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

    /// The runtime's clock, real time by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Which runtime to play, containerd 2.1 by default.
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// The runtime's name and version, by default those of its flavour.
    pub fn version(mut self, runtime_name: impl Into<String>, runtime_version: impl Into<String>) -> Self {
        self.version = Some((runtime_name.into(), runtime_version.into()));
        self
    }

    /// The PID that containerd says it has where it is asked by its own API, by default this process's.
    pub fn pid(mut self, pid: u64) -> Self {
        self.pid = Some(pid);
        self
    }

    /// The PID of the first sandbox, 4000 by default. Each sandbox, each container and each exec takes the next.
    pub fn first_pid(mut self, pid: u32) -> Self {
        self.first_pid = pid;
        self
    }

    /// The largest message that it sends, in bytes; for a larger one it has an error. By default 16 MiB for
    /// containerd, 80 MiB for CRI-O.
    pub fn largest_message(mut self, bytes: usize) -> Self {
        self.largest_message = Some(bytes);
        self
    }

    /// A hook from the very first call on; see [`Server::on_call`].
    pub fn on_call(self, hook: impl Fn(&Call) -> Verdict + Send + Sync + 'static) -> Self {
        self.hooks.on_call(Arc::new(hook));
        self
    }

    /// A hook from the very first answer on; see [`Server::on_answer`].
    pub fn on_answer(self, hook: impl Fn(&Call, Code) -> Verdict + Send + Sync + 'static) -> Self {
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
        let containerd = self.flavour.containerd().unwrap_or_default();
        let containerd = Arc::new(Beneath::new(self.clock, containerd, self.first_pid, self.pid));
        let identity = match self.version {
            Some((runtime_name, runtime_version)) => Identity { runtime_name, runtime_version },
            None => Identity::of(self.flavour),
        };
        let engine = Engine::new(Arc::clone(&containerd), self.flavour);
        let shared = Shared::new(engine, containerd, identity, self.largest_message, self.hooks);
        let listening = Listening::new(Arc::clone(&shared) as _, runtime, self.socket, "cri.sock");
        Ok(Server::new(shared, Arc::new(listening.map_err(Error::listen)?)))
    }
}
