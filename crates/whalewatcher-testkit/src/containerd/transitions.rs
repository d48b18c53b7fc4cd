//! The changes of namespaces, containers and tasks, with the events that report them in the order of real engines.

use whalewatcher_api::containerd::events::{
    ContainerCreate, ContainerDelete, ContainerUpdate, NamespaceCreate, NamespaceDelete, TaskCreate,
    TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskOom, TaskPaused, TaskResumed, TaskStart,
    container_create::Runtime,
};
use whalewatcher_api::containerd::services::events::v1::PublishRequest;

use super::{
    Error,
    container::{Container, ContainerSpec, Key, Status, Task},
    engine::State,
    events::{Event, timestamp},
    oci,
};

impl State {
    pub(super) fn create_namespace(&mut self, name: &str) {
        if self.add_namespace(name) {
            let event = NamespaceCreate { name: name.into(), ..NamespaceCreate::default() };
            self.emit(Event::of(name, "/namespaces/create", &event));
        }
    }

    pub(super) fn delete_namespace(&mut self, name: &str) -> Result<(), Error> {
        if self.in_namespace(name).next().is_some() {
            return Err(Error::impossible(name, "is not empty"));
        }
        if self.forget_namespace(name) {
            self.emit(Event::of(name, "/namespaces/delete", &NamespaceDelete { name: name.into() }));
        }
        Ok(())
    }

    pub(super) fn create(&mut self, spec: ContainerSpec) -> Result<Key, Error> {
        let key = spec.key;
        if self.find(&key).is_ok() {
            return Err(Error::impossible(key.to_string(), "exists already"));
        }
        let now = self.tick();
        let runtime = Runtime { name: spec.runtime.clone(), options: None };
        let event =
            ContainerCreate { id: key.id.to_string(), image: spec.image.clone(), runtime: Some(runtime) };
        self.add(Container {
            spec: oci::spec(&key.id, spec.spec_size).into(),
            key: key.clone(),
            image: spec.image,
            runtime: spec.runtime,
            labels: spec.labels,
            created: now,
            updated: now,
            task: None,
        });
        self.emit(Event::of(&key.namespace, "/containers/create", &event).about(&key.id));
        Ok(key)
    }

    pub(super) fn create_task(&mut self, key: &Key) -> Result<u32, Error> {
        if self.find(key)?.task.is_some() {
            return Err(Error::impossible(key.to_string(), "has a task already"));
        }
        let pid = self.next_pid();
        self.find_mut(key)?.task = Some(Task { pid, status: Status::Created, exited: None });
        let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/{}/{}", key.namespace, key.id);
        let event = TaskCreate { container_id: key.id.to_string(), bundle, pid, ..TaskCreate::default() };
        self.emit(Event::of(&key.namespace, "/tasks/create", &event).about(&key.id));
        Ok(pid)
    }

    /// The task is made if there is none.
    pub(super) fn start(&mut self, key: &Key) -> Result<u32, Error> {
        let pid = self.begin(key)?;
        self.report_start(key, pid);
        Ok(pid)
    }

    fn begin(&mut self, key: &Key) -> Result<u32, Error> {
        let pid = match self.find(key)?.task {
            None => self.create_task(key)?,
            Some(Task { status: Status::Created, pid, .. }) => pid,
            Some(_) => return Err(Error::impossible(key.to_string(), "has a task already")),
        };
        self.set_status(key, Status::Running)?;
        Ok(pid)
    }

    fn report_start(&mut self, key: &Key, pid: u32) {
        let event = TaskStart { container_id: key.id.to_string(), pid };
        self.emit(Event::of(&key.namespace, "/tasks/start", &event).about(&key.id));
    }

    /// Its process ends so soon that the exit event precedes the start event.
    pub(super) fn start_and_exit(&mut self, key: &Key, code: u32) -> Result<(), Error> {
        let pid = self.begin(key)?;
        self.exit(key, code)?;
        self.report_start(key, pid);
        Ok(())
    }

    fn set_status(&mut self, key: &Key, status: Status) -> Result<(), Error> {
        match &mut self.find_mut(key)?.task {
            Some(task) => {
                task.status = status;
                Ok(())
            }
            None => Err(Error::impossible(key.to_string(), "has no task")),
        }
    }

    fn task(&self, key: &Key) -> Result<Task, Error> {
        self.find(key)?.task.ok_or_else(|| Error::impossible(key.to_string(), "has no task"))
    }

    fn alive(&self, key: &Key) -> Result<Task, Error> {
        let task = self.task(key)?;
        if task.status.is_alive() {
            Ok(task)
        } else {
            Err(Error::impossible(key.to_string(), "is not running"))
        }
    }

    /// A task that was made but never started can be ended too.
    pub(super) fn exit(&mut self, key: &Key, code: u32) -> Result<(), Error> {
        let task = self.task(key)?;
        if task.status == Status::Stopped {
            return Err(Error::impossible(key.to_string(), "is not running"));
        }
        let now = self.tick();
        self.find_mut(key)?.task = Some(Task { status: Status::Stopped, exited: Some((now, code)), ..task });
        let event = TaskExit {
            container_id: key.id.to_string(),
            id: key.id.to_string(),
            pid: task.pid,
            exit_status: code,
            exited_at: Some(timestamp(now)),
        };
        self.emit(Event::of(&key.namespace, "/tasks/exit", &event).about(&key.id).process(&key.id));
        Ok(())
    }

    pub(super) fn delete_task(&mut self, key: &Key) -> Result<(), Error> {
        let task = self.task(key)?;
        if task.status.is_alive() {
            return Err(Error::impossible(key.to_string(), "is alive"));
        }
        self.find_mut(key)?.task = None;
        let (at, code) = task.exited.unzip();
        let event = TaskDelete {
            container_id: key.id.to_string(),
            pid: task.pid,
            exit_status: code.unwrap_or_default(),
            exited_at: at.map(timestamp),
            id: String::new(),
        };
        self.emit(Event::of(&key.namespace, "/tasks/delete", &event).about(&key.id));
        Ok(())
    }

    /// By force: it is killed if it is alive.
    pub(super) fn remove(&mut self, key: &Key) -> Result<(), Error> {
        if let Some(task) = self.find(key)?.task {
            if task.status.is_alive() {
                self.exit(key, 137)?;
            }
            self.delete_task(key)?;
        }
        self.forget(key);
        let event = ContainerDelete { id: key.id.to_string() };
        self.emit(Event::of(&key.namespace, "/containers/delete", &event).about(&key.id));
        Ok(())
    }

    /// containerd says so only when it is done.
    pub(super) fn begin_pausing(&mut self, key: &Key) -> Result<(), Error> {
        match self.alive(key)?.status {
            Status::Running => self.set_status(key, Status::Pausing),
            _ => Err(Error::impossible(key.to_string(), "is paused")),
        }
    }

    pub(super) fn pause(&mut self, key: &Key) -> Result<(), Error> {
        if self.alive(key)?.status == Status::Paused {
            return Err(Error::impossible(key.to_string(), "is paused"));
        }
        self.set_status(key, Status::Paused)?;
        let event = TaskPaused { container_id: key.id.to_string() };
        self.emit(Event::of(&key.namespace, "/tasks/paused", &event).about(&key.id));
        Ok(())
    }

    pub(super) fn resume(&mut self, key: &Key) -> Result<(), Error> {
        if self.alive(key)?.status != Status::Paused {
            return Err(Error::impossible(key.to_string(), "is not paused"));
        }
        self.set_status(key, Status::Running)?;
        let event = TaskResumed { container_id: key.id.to_string() };
        self.emit(Event::of(&key.namespace, "/tasks/resumed", &event).about(&key.id));
        Ok(())
    }

    pub(super) fn exec(&mut self, key: &Key, exec: &str, code: u32) -> Result<(), Error> {
        if self.alive(key)?.status != Status::Running {
            return Err(Error::impossible(key.to_string(), "is paused"));
        }
        let (container_id, exec_id) = (key.id.to_string(), exec.to_owned());
        let pid = self.next_pid();
        let added = TaskExecAdded { container_id: container_id.clone(), exec_id: exec_id.clone() };
        self.emit(Event::of(&key.namespace, "/tasks/exec-added", &added).about(&key.id));
        let started = TaskExecStarted { container_id: container_id.clone(), exec_id: exec_id.clone(), pid };
        self.emit(Event::of(&key.namespace, "/tasks/exec-started", &started).about(&key.id));
        let now = self.tick();
        let exit =
            TaskExit { container_id, id: exec_id, pid, exit_status: code, exited_at: Some(timestamp(now)) };
        self.emit(Event::of(&key.namespace, "/tasks/exit", &exit).about(&key.id).process(exec));
        Ok(())
    }

    pub(super) fn run_out_of_memory(&mut self, key: &Key) -> Result<(), Error> {
        self.alive(key)?;
        let event = TaskOom { container_id: key.id.to_string() };
        self.emit(Event::of(&key.namespace, "/tasks/oom", &event).about(&key.id));
        Ok(())
    }

    pub(super) fn set_label(&mut self, key: &Key, label: &str, value: Option<&str>) -> Result<(), Error> {
        let now = self.tick();
        let container = self.find_mut(key)?;
        match value {
            Some(value) => container.labels.insert(label.into(), value.into()),
            None => container.labels.remove(label),
        };
        container.updated = now;
        let event = ContainerUpdate {
            id: key.id.to_string(),
            image: container.image.clone(),
            labels: container.labels.clone().into_iter().collect(),
            snapshot_key: String::new(),
        };
        self.emit(Event::of(&key.namespace, "/containers/update", &event).about(&key.id));
        Ok(())
    }

    /// What a client publishes.
    pub(super) fn publish(&mut self, namespace: &str, request: &PublishRequest) {
        let event = request.event.clone().unwrap_or_default();
        self.emit(Event {
            namespace: namespace.into(),
            topic: request.topic.clone(),
            container: None,
            process: None,
            type_url: event.type_url,
            value: event.value,
            time: jiff::Timestamp::MIN,
        });
    }
}
