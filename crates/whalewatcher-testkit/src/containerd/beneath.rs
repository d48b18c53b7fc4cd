//! containerd beneath a CRI runtime that is part of it: the same socket, and a container and a task for each
//! sandbox and container, in namespace `k8s.io`.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    clock::Clock,
    grpc::{Hooks, Listening, Serve},
};

use super::{
    ContainerSpec, Error, Flavour, Server,
    builder::new_uuid,
    container::Key,
    engine::Engine,
    server::{Identity, Shared},
};

/// Where the CRI keeps its containers.
const NAMESPACE: &str = "k8s.io";

/// A containerd whose socket belongs to another server. Its containers are named by their bare IDs.
#[derive(Debug)]
pub(crate) struct Beneath(Arc<Shared>);

impl Beneath {
    pub(crate) fn new(clock: Clock, flavour: Flavour, first_pid: u32, pid: Option<u64>) -> Self {
        let identity = Identity {
            flavour,
            uuid: new_uuid(),
            version: flavour.version().into(),
            revision: flavour.revision().into(),
            pid: pid.unwrap_or_else(|| std::process::id().into()),
            pid_namespace: super::builder::PID_NAMESPACE,
            largest_message: super::builder::LARGEST_MESSAGE,
        };
        Self(Shared::new(Engine::new(clock, first_pid), identity, Hooks::default()))
    }

    /// What serves its API.
    pub(crate) fn service(&self) -> Arc<dyn Serve> {
        Arc::clone(&self.0) as _
    }

    /// For tests to hold.
    pub(crate) fn server(&self, listening: Arc<Listening>) -> Server {
        Server::new(Arc::clone(&self.0), listening)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.0.engine.clock.clone()
    }

    pub(crate) fn become_flavour(&self, flavour: Flavour) {
        self.0.change_identity(|identity| {
            identity.flavour = flavour;
            identity.version = flavour.version().into();
            identity.revision = flavour.revision().into();
        });
    }

    /// The time for whatever happens now, later than all before.
    pub(crate) fn tick(&self) -> Timestamp {
        self.0.engine.lock().tick()
    }

    /// The PID of the next process.
    pub(crate) fn continue_with(&self, pid: u32) {
        self.0.engine.lock().continue_with(pid);
    }

    pub(crate) fn create(&self, id: &str, image: &str, labels: &[(String, String)]) -> Result<(), Error> {
        let spec =
            ContainerSpec::new(format!("{NAMESPACE}/{id}")).image(image).labels(labels.iter().cloned());
        self.0.engine.lock().create(spec).map(drop)
    }

    /// Makes and starts the task of a container, and returns its PID.
    pub(crate) fn start(&self, id: &str) -> Result<u32, Error> {
        self.0.engine.lock().start(&key(id))
    }

    /// The exit event precedes the start event.
    pub(crate) fn start_and_exit(&self, id: &str, code: u32) -> Result<u32, Error> {
        let mut engine = self.0.engine.lock();
        let pid = engine.create_task(&key(id))?;
        engine.start_and_exit(&key(id), code)?;
        Ok(pid)
    }

    pub(crate) fn exit(&self, id: &str, code: u32) -> Result<(), Error> {
        self.0.engine.lock().exit(&key(id), code)
    }

    pub(crate) fn delete_task(&self, id: &str) -> Result<(), Error> {
        self.0.engine.lock().delete_task(&key(id))
    }

    pub(crate) fn remove(&self, id: &str) -> Result<(), Error> {
        self.0.engine.lock().remove(&key(id))
    }

    pub(crate) fn exec(&self, id: &str, exec: &str, code: u32) -> Result<(), Error> {
        self.0.engine.lock().exec(&key(id), exec, code)
    }

    pub(crate) fn run_out_of_memory(&self, id: &str) -> Result<(), Error> {
        self.0.engine.lock().run_out_of_memory(&key(id))
    }
}

fn key(id: &str) -> Key {
    Key { namespace: NAMESPACE.into(), id: id.into() }
}
