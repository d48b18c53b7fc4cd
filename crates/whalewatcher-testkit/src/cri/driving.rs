//! What a test makes the runtime's pods do.

use whalewatcher_api::cri::v1::{ContainerEventResponse, ContainerEventType};

use super::{Alive, ContainerSpec, Error, Fate, Info, PodSpec, Server};

/// Driving sandboxes and containers. Each call makes the events that the runtime makes, in its order, and those of
/// containerd beneath it. Sandboxes and containers are named by their IDs.
///
/// # Errors
///
/// [`Error::NotFound`] without such a sandbox or container, [`Error::Impossible`] if it is in no state for the call.
impl Server {
    /// Makes a sandbox, starts it, and returns its ID. Events: `CREATED` (not of CRI-O) and `STARTED`.
    pub fn run_pod(&self, spec: impl Into<PodSpec>) -> Result<String, Error> {
        self.shared.engine.lock().run_pod(spec.into()).map(|id| id.to_string())
    }

    /// Makes a sandbox of which only containerd knows yet: its process runs, and `/tasks/start` is published, but the
    /// runtime neither lists it nor has a status for it. [`finish_start`](Self::finish_start) is the end of it.
    pub fn begin_pod(&self, spec: impl Into<PodSpec>) -> Result<String, Error> {
        self.shared.engine.lock().begin_pod(spec.into()).map(|id| id.to_string())
    }

    /// Makes a container in a sandbox that is ready, and returns its ID. Event: `CREATED`.
    pub fn create(&self, sandbox: &str, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        self.shared.engine.lock().create(sandbox, spec.into()).map(|id| id.to_string())
    }

    /// Makes a container in a sandbox that is ready, starts it, and returns its ID. Events: `CREATED`, `STARTED`.
    pub fn run(&self, sandbox: &str, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        let mut engine = self.shared.engine.lock();
        let id = engine.create(sandbox, spec.into())?;
        engine.start(&id)?;
        Ok(id.to_string())
    }

    /// Starts a container, and returns its PID. Event: `STARTED`.
    pub fn start(&self, container: &str) -> Result<u32, Error> {
        self.shared.engine.lock().start(container)
    }

    /// Starts a container, of which containerd publishes `/tasks/start`, while the runtime still says that it is
    /// created. [`finish_start`](Self::finish_start) is the end of it. Returns the PID.
    pub fn begin_start(&self, container: &str) -> Result<u32, Error> {
        self.shared.engine.lock().begin_start(container)
    }

    /// Completes what [`begin_start`](Self::begin_start) or [`begin_pod`](Self::begin_pod) began. Event:
    /// `STARTED`, for a sandbox after `CREATED`.
    pub fn finish_start(&self, id: &str) -> Result<(), Error> {
        self.shared.engine.lock().finish_start(id)
    }

    /// Starts a container, which ends so soon with this code that containerd publishes its end before its start.
    /// Events: `STARTED`, `STOPPED`.
    pub fn start_and_exit(&self, container: &str, code: i32) -> Result<(), Error> {
        self.shared.engine.lock().start_and_exit(container, code)
    }

    /// The process of a container or a sandbox ends with this code. A sandbox' containers live on. Event: `STOPPED`.
    pub fn exit(&self, id: &str, code: i32) -> Result<(), Error> {
        self.shared.engine.lock().exit(id, code)
    }

    /// The process of a container or a sandbox ends, of which containerd publishes `/tasks/exit`, while the runtime
    /// still says that it runs. [`finish_exit`](Self::finish_exit) is the end of it.
    pub fn begin_exit(&self, id: &str, code: i32) -> Result<(), Error> {
        self.shared.engine.lock().begin_exit(id, code)
    }

    /// Completes what [`begin_exit`](Self::begin_exit) began. Event: `STOPPED`.
    pub fn finish_exit(&self, id: &str) -> Result<(), Error> {
        self.shared.engine.lock().finish_exit(id)
    }

    /// Stops a container, or a sandbox after all its containers, by SIGKILL. Nothing happens to what has ended. Event:
    /// `STOPPED` of each.
    pub fn stop(&self, id: &str) -> Result<(), Error> {
        self.shared.engine.lock().stop(id)
    }

    /// Stops and removes a container, or a sandbox with all its containers. Events: `STOPPED` and `DELETED`
    /// of each, but CRI-O emits none for a removed sandbox.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        self.shared.engine.lock().remove(id)
    }

    /// Runs a process in a container, which ends with this code. Only containerd emits events: `/tasks/exec-added`,
    /// `/tasks/exec-started`, `/tasks/exit`.
    pub fn exec(&self, container: &str, exec: &str, code: i32) -> Result<(), Error> {
        self.shared.engine.lock().exec(container, exec, code)
    }

    /// It runs out of memory, and lives on. Only containerd emits an event: `/tasks/oom`. When it ends, that
    /// is the reason.
    pub fn run_out_of_memory(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().run_out_of_memory(container)
    }

    /// The next process has this PID, as if the system had come around to it, and later ones those after it.
    pub fn continue_with_pid(&self, pid: u32) {
        self.shared.containerd.continue_with(pid);
    }

    /// Returns what is alive now according to the runtime, by ID.
    pub fn truth(&self) -> Vec<Alive> {
        self.shared.engine.lock().truth()
    }
}

/// Statuses that are out of order.
impl Server {
    /// Sets the additional data in the verbose status of a container or a sandbox.
    pub fn set_info(&self, id: &str, info: Info) -> Result<(), Error> {
        self.shared.engine.lock().find_mut(id)?.info = info;
        Ok(())
    }

    /// Sets the number that lists, statuses and events contain in place of the state of a container or a
    /// sandbox; `None` restores the true one.
    pub fn set_raw_state(&self, id: &str, state: Option<i32>) -> Result<(), Error> {
        self.shared.engine.lock().find_mut(id)?.raw_state = state;
        Ok(())
    }
}

/// Events that go wrong.
impl Server {
    /// Sends any event.
    pub fn emit(&self, event: ContainerEventResponse) {
        self.shared.engine.lock().emit(event);
    }

    /// Emits an event about a container or a sandbox without a cause, with the current statuses of it and its pod.
    pub fn report(&self, what: ContainerEventType, id: &str) -> Result<(), Error> {
        let mut engine = self.shared.engine.lock();
        let sandbox = engine.find(id)?.sandbox_id().to_string();
        engine.report(what, id, &sandbox);
        Ok(())
    }

    /// Has this decide about each event from now on; of several, the first that does not say
    /// [`Fate::Deliver`] decides. It is called in the middle of what happens, so it must not call the server.
    pub fn on_event(&self, decide: impl FnMut(&ContainerEventResponse) -> Fate + Send + 'static) {
        self.shared.engine.lock().fates().decide(Box::new(decide));
    }

    /// The next event of this kind silently vanishes.
    pub fn lose_next(&self, what: ContainerEventType) {
        let lost = move |event: &ContainerEventResponse| event.container_event_type() == what;
        self.shared.engine.lock().fates().lose_next(Box::new(lost));
    }
}
