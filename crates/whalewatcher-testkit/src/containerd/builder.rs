//! How a server is to be, before it starts.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::grpc::{Basis, Listening, building};

use super::{
    Call, Error, Verdict,
    engine::Engine,
    flavour::Flavour,
    server::{Identity, Server, Shared},
};

/// The PID namespace that it says it is in, as the first one of every Linux system.
pub(super) const PID_NAMESPACE: u64 = 4_026_531_836;

/// The largest message that containerd sends, in bytes.
pub(super) const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// Makes a [`Server`]; get one from [`Server::builder`].
#[derive(Debug, Default)]
pub struct Builder {
    basis: Basis<Call>,
    flavour: Flavour,
    uuid: Option<String>,
    version: Option<(String, String)>,
}

building!();

impl Builder {
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

    /// Starts the server on the tokio runtime of the caller. It listens when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime, [`Error::Listen`] if the socket cannot be made.
    pub fn start(self) -> Result<Server, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let (version, revision) =
            self.version.unwrap_or_else(|| (self.flavour.version().into(), self.flavour.revision().into()));
        let Basis { socket, clock, pid, first_pid, largest_message, hooks } = self.basis;
        let identity = Identity {
            flavour: self.flavour,
            uuid: self.uuid.unwrap_or_else(new_uuid),
            version,
            revision,
            pid: pid.unwrap_or_else(|| std::process::id().into()),
            pid_namespace: PID_NAMESPACE,
            largest_message: largest_message.unwrap_or(LARGEST_MESSAGE),
        };
        let engine = Engine::new(clock, first_pid);
        let shared = Shared::new(engine, identity, hooks);
        let listening = Listening::new(Arc::clone(&shared) as _, runtime, socket, "containerd.sock");
        Ok(Server::new(shared, Arc::new(listening.map_err(Error::listen)?)))
    }
}

pub(super) fn new_uuid() -> String {
    let mut random = fastrand::Rng::new();
    let mut group = |digits: usize| (0..digits).map(|_| random.digit(16)).collect::<String>();
    [8, 4, 4, 4, 12].map(&mut group).join("-")
}
