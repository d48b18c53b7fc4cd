//! Driving containerd through its API by clients of its own, on a connection of its own: none of what is
//! tested has a part in it.

mod spec;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::EngineFailure;
use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost_types::FieldMask;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use whalewatcher_core::COMPOSE_PROJECT_LABEL;
use xtask::engines::{PrivateEngine, TEST_COMMAND};

use crate::api::containerd::services::containers::v1::container::Runtime;
use crate::api::containerd::services::containers::v1::containers_client::ContainersClient;
use crate::api::containerd::services::containers::v1::{
    Container, CreateContainerRequest, DeleteContainerRequest, ListContainersRequest, UpdateContainerRequest,
};
use crate::api::containerd::services::namespaces::v1::ListNamespacesRequest;
use crate::api::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use crate::api::containerd::services::tasks::v1::tasks_client::TasksClient;
use crate::api::containerd::services::tasks::v1::{
    CreateTaskRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest, KillRequest,
    ListTasksRequest, PauseTaskRequest, ResumeTaskRequest, StartRequest, WaitRequest,
};

/// How many containers are dealt with at once where it does not matter how many.
pub const AT_ONCE: usize = 16;

const SIGKILL: u32 = 9;

/// How long to wait for the exit of a process. containerd 2.1 sometimes does not report it if process and
/// container end at the same moment.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Which container: as watchers name them, `NAMESPACE/ID` or just the ID in namespace `default`.
pub fn split(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("default", key))
}

/// The other way round.
pub fn join(namespace: &str, id: &str) -> String {
    if namespace == "default" { id.to_owned() } else { format!("{namespace}/{id}") }
}

/// The plan of a container, which by default runs until it is stopped.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As watchers name it.
    pub key: String,
    labels: HashMap<String, String>,
    command: Vec<String>,
    image: String,
    memory: Option<u64>,
    spec_size: usize,
}

impl Plan {
    /// A container of this key.
    pub fn of(key: impl Into<String>) -> Plan {
        let [_, option, script] = TEST_COMMAND;
        let command = ["/bin/sh", option, script].map(str::to_owned).to_vec();
        Plan {
            key: key.into(),
            labels: HashMap::new(),
            command,
            image: "docker.io/library/busybox:latest".to_owned(),
            memory: None,
            spec_size: spec::DOCKER_SIZE,
        }
    }

    /// With the labels by which nerdctl names its containers.
    pub fn named(self, name: &str) -> Plan {
        let namespace = split(&self.key).0.to_owned();
        self.labelled("nerdctl/name", name).labelled("nerdctl/namespace", &namespace)
    }

    /// With the label by which compose names the project.
    pub fn in_project(self, project: &str) -> Plan {
        self.labelled(COMPOSE_PROJECT_LABEL, project)
    }

    /// With this label.
    pub fn labelled(mut self, key: &str, value: &str) -> Plan {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With this image in its record. containerd does not need it: the containers share one root file system.
    pub fn made_of(mut self, image: &str) -> Plan {
        image.clone_into(&mut self.image);
        self
    }

    /// With at most so many bytes of memory.
    pub fn with_memory(mut self, bytes: u64) -> Plan {
        self.memory = Some(bytes);
        self
    }

    /// With a spec of so many bytes.
    pub fn sized(mut self, bytes: usize) -> Plan {
        self.spec_size = bytes;
        self
    }

    /// With this as what it runs in a shell.
    pub fn running(mut self, script: &str) -> Plan {
        self.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self
    }
}

/// A connection to containerd, and where its containers' things are.
#[derive(Clone, Debug)]
pub struct Driver {
    channel: Channel,
    root: PathBuf,
    runc_root: PathBuf,
    cgroup: String,
}

/// A request about this namespace.
pub fn within<T>(namespace: &str, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    let value = namespace.parse().with_context(|| format!("{namespace} is no namespace"))?;
    request.metadata_mut().insert("containerd-namespace", value);
    Ok(request)
}

/// What is not there any more need not be removed.
fn unless_missing<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.code() != Code::NotFound => Err(status),
        _ => Ok(()),
    }
}

/// The message of an answer, or what could not be done.
async fn done<T>(
    answer: impl Future<Output = Result<Response<T>, Status>>,
    what: impl FnOnce() -> String,
) -> Result<T> {
    Ok(answer.await.with_context(what)?.into_inner())
}

impl Driver {
    /// Connects when something is asked for.
    pub fn new(containerd: &PrivateEngine) -> Result<Driver> {
        Ok(Driver {
            channel: Endpoint::from_shared(containerd.endpoint()).context("no endpoint")?.connect_lazy(),
            root: containerd.root_file_system(),
            runc_root: containerd.runc_root(),
            cgroup: containerd.cgroup(),
        })
    }

    fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel.clone())
    }

    fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone())
    }

    /// Makes a container without a task.
    pub async fn create(&self, plan: &Plan) -> Result<()> {
        let (namespace, id) = split(&plan.key);
        let cgroup = format!("{}/{namespace}-{id}", self.cgroup);
        let runtime = Runtime {
            name: "io.containerd.runc.v2".to_owned(),
            options: Some(spec::runc_options(&self.runc_root)),
        };
        let container = Container {
            id: id.to_owned(),
            labels: plan.labels.clone(),
            image: plan.image.clone(),
            runtime: Some(runtime),
            spec: Some(spec::spec(&plan.command, &self.root, &cgroup, plan.memory, plan.spec_size)),
            ..Container::default()
        };
        let request = within(namespace, CreateContainerRequest { container: Some(container) })?;
        done(self.containers().create(request), || format!("cannot make {}", plan.key)).await.map(drop)
    }

    /// Makes a task that is not started yet, and returns its PID.
    pub async fn create_task(&self, key: &str) -> Result<u32> {
        let (namespace, id) = split(key);
        let request = CreateTaskRequest { container_id: id.to_owned(), ..CreateTaskRequest::default() };
        let request = within(namespace, request)?;
        Ok(done(self.tasks().create(request), || format!("cannot make a task of {key}")).await?.pid)
    }

    /// Starts a task that was made, and returns its PID.
    pub async fn start_task(&self, key: &str) -> Result<u32> {
        let (namespace, id) = split(key);
        let request =
            within(namespace, StartRequest { container_id: id.to_owned(), exec_id: String::new() })?;
        Ok(done(self.tasks().start(request), || format!("cannot start {key}")).await?.pid)
    }

    /// Makes a task and starts it.
    pub async fn start(&self, key: &str) -> Result<u32> {
        self.create_task(key).await?;
        self.start_task(key).await
    }

    /// Makes a container and starts it.
    pub async fn run(&self, plan: &Plan) -> Result<u32> {
        self.create(plan).await?;
        self.start(&plan.key).await
    }

    /// Runs several at once and returns their PIDs, in the order of their plans.
    pub async fn run_all(&self, plans: impl IntoIterator<Item = Plan>) -> Result<Vec<u32>> {
        let running = stream::iter(plans).map(|plan| async move { self.run(&plan).await });
        running.buffered(AT_ONCE).try_collect().await
    }

    /// Waits until a task has ended, and returns its exit code.
    pub async fn ended(&self, key: &str) -> Result<u32> {
        let (namespace, id) = split(key);
        self.wait(namespace, id, "").await?.with_context(|| format!("cannot await the end of {key}"))
    }

    /// Waits until a process has ended.
    async fn wait(&self, namespace: &str, id: &str, exec: &str) -> Result<Result<u32, Status>> {
        let request = WaitRequest { container_id: id.to_owned(), exec_id: exec.to_owned() };
        let request = within(namespace, request)?;
        let ended = timeout(END_LIMIT, self.tasks().wait(request)).await;
        let ended =
            ended.with_context(|| EngineFailure(format!("the end of {id} {exec} is never reported")))?;
        Ok(ended.map(|ended| ended.into_inner().exit_status))
    }

    /// Sends a signal to the first process.
    pub async fn kill(&self, key: &str, signal: u32) -> Result<()> {
        let (namespace, id) = split(key);
        let request = KillRequest { container_id: id.to_owned(), signal, ..KillRequest::default() };
        done(self.tasks().kill(within(namespace, request)?), || format!("cannot kill {key}")).await
    }

    /// Freezes it.
    pub async fn pause(&self, key: &str) -> Result<()> {
        let (namespace, id) = split(key);
        let request = within(namespace, PauseTaskRequest { container_id: id.to_owned() })?;
        done(self.tasks().pause(request), || format!("cannot pause {key}")).await
    }

    /// Lets it run on.
    pub async fn resume(&self, key: &str) -> Result<()> {
        let (namespace, id) = split(key);
        let request = within(namespace, ResumeTaskRequest { container_id: id.to_owned() })?;
        done(self.tasks().resume(request), || format!("cannot resume {key}")).await
    }

    /// Runs a program beside the first one, and waits for its end.
    pub async fn exec(&self, key: &str, exec: &str, script: &str) -> Result<u32> {
        let (namespace, id) = split(key);
        let (container_id, exec_id) = (id.to_owned(), exec.to_owned());
        let mut tasks = self.tasks();
        let request = ExecProcessRequest {
            container_id: container_id.clone(),
            exec_id: exec_id.clone(),
            spec: Some(spec::exec(&["/bin/sh", "-c", script].map(str::to_owned))),
            ..ExecProcessRequest::default()
        };
        done(tasks.exec(within(namespace, request)?), || format!("cannot add {exec} to {key}")).await?;
        let request = StartRequest { container_id: container_id.clone(), exec_id: exec_id.clone() };
        done(tasks.start(within(namespace, request)?), || format!("cannot start {exec}")).await?;
        let ended = self.wait(namespace, id, exec).await?;
        let code = ended.with_context(|| format!("cannot await the end of {exec}"))?;
        let request = within(namespace, DeleteProcessRequest { container_id, exec_id })?;
        done(tasks.delete_process(request), || format!("cannot delete {exec}")).await?;
        Ok(code)
    }

    /// Deletes a task that has ended.
    pub async fn delete_task(&self, key: &str) -> Result<()> {
        let (namespace, id) = split(key);
        let request = within(namespace, DeleteTaskRequest { container_id: id.to_owned() })?;
        done(self.tasks().delete(request), || format!("cannot delete the task of {key}")).await.map(drop)
    }

    /// Removes a container, whatever state it is in.
    pub async fn remove(&self, key: &str) -> Result<()> {
        let (namespace, id) = split(key);
        // Most are not paused, which is an error.
        let _ = self.resume(key).await;
        if self.kill(key, SIGKILL).await.is_ok() {
            // If no exit is reported, deleting shows whether it is there.
            if let Ok(ended) = self.wait(namespace, id, "").await {
                unless_missing(ended)?;
            }
        }
        let request = within(namespace, DeleteTaskRequest { container_id: id.to_owned() })?;
        unless_missing(self.tasks().delete(request).await)
            .with_context(|| format!("cannot delete the task of {key}"))?;
        self.delete(key).await
    }

    /// Deletes a container, without looking whether it has a task.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let (namespace, id) = split(key);
        let request = within(namespace, DeleteContainerRequest { id: id.to_owned() })?;
        unless_missing(self.containers().delete(request).await)
            .with_context(|| format!("cannot delete {key}"))
    }

    /// Gives a label another value.
    pub async fn label(&self, key: &str, label: &str, value: &str) -> Result<()> {
        let (namespace, id) = split(key);
        let labels = HashMap::from([(label.to_owned(), value.to_owned())]);
        let container = Container { id: id.to_owned(), labels, ..Container::default() };
        let update_mask = Some(FieldMask { paths: vec![format!("labels.{label}")] });
        let request = within(namespace, UpdateContainerRequest { container: Some(container), update_mask })?;
        done(self.containers().update(request), || format!("cannot label {key}")).await.map(drop)
    }

    /// The containers of a namespace, whether they have tasks or not.
    pub async fn list(&self, namespace: &str) -> Result<Vec<Container>> {
        let request = within(namespace, ListContainersRequest::default())?;
        let what = || format!("cannot list {namespace}");
        let messages = done(self.containers().list_stream(request), what).await?;
        let containers = messages.map_ok(|message| message.container.unwrap_or_default());
        containers.try_collect().await.with_context(what)
    }

    /// The IDs of a namespace's tasks, also of those whose container is gone.
    pub async fn tasks_of(&self, namespace: &str) -> Result<Vec<String>> {
        let request = within(namespace, ListTasksRequest::default())?;
        let what = || format!("cannot list the tasks of {namespace}");
        let listed = done(self.tasks().list(request), what).await?;
        Ok(listed.tasks.into_iter().map(|task| task.id).collect())
    }

    /// The names of all namespaces.
    pub async fn namespaces(&self) -> Result<Vec<String>> {
        let mut client = NamespacesClient::new(self.channel.clone());
        let request = ListNamespacesRequest::default();
        let listed = done(client.list(request), || "cannot list namespaces".to_owned()).await?;
        Ok(listed.namespaces.into_iter().map(|namespace| namespace.name).collect())
    }
}
