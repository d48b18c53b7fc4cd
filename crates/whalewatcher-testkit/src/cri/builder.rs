//! How a server is to be, before it starts.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::{
    containerd::Beneath,
    grpc::{Basis, Listening, building},
};

use super::{
    Call, Error, Verdict,
    engine::Engine,
    flavour::Flavour,
    server::{Identity, Server, Shared},
};

/// Makes a [`Server`]; get one from [`Server::builder`].
#[derive(Debug, Default)]
pub struct Builder {
    basis: Basis<Call>,
    flavour: Flavour,
    version: Option<(String, String)>,
}

building!();

impl Builder {
    /// The runtime's name and version, by default those of its flavour.
    pub fn version(mut self, runtime_name: impl Into<String>, runtime_version: impl Into<String>) -> Self {
        self.version = Some((runtime_name.into(), runtime_version.into()));
        self
    }

    /// Starts the server on the tokio runtime of the caller. It listens when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime, [`Error::Listen`] if the socket cannot be made.
    pub fn start(self) -> Result<Server, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let Basis { socket, clock, pid, first_pid, largest_message, hooks } = self.basis;
        let containerd = self.flavour.containerd().unwrap_or_default();
        let containerd = Arc::new(Beneath::new(clock, containerd, first_pid, pid));
        let identity = match self.version {
            Some((runtime_name, runtime_version)) => Identity { runtime_name, runtime_version },
            None => Identity::of(self.flavour),
        };
        let engine = Engine::new(Arc::clone(&containerd), self.flavour);
        let shared = Shared::new(engine, containerd, identity, largest_message, hooks);
        let listening = Listening::new(Arc::clone(&shared) as _, runtime, socket, "cri.sock");
        Ok(Server::new(shared, Arc::new(listening.map_err(Error::listen)?)))
    }
}
