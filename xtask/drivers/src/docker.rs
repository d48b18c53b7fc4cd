//! Driving the engine, through bollard and on connections of its own: none of what is tested has a part in it.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummaryStateEnum,
    EventMessage, ExecConfig, HealthConfig, HostConfig, NetworkConnectRequest, NetworkDisconnectRequest,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, InspectContainerOptions, KillContainerOptions,
    ListContainersOptions, RemoveContainerOptions, RenameContainerOptions, RestartContainerOptions,
    StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use whalewatcher_core::COMPOSE_PROJECT_LABEL;
use xtask::engines::TEST_IMAGE;

/// How long an answer may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// How many requests are made at once where it does not matter how many.
pub const AT_ONCE: usize = 8;

/// The plan of a container, which by default runs until it is stopped.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    body: ContainerCreateBody,
}

impl Plan {
    /// A container of this name.
    pub fn named(name: impl Into<String>) -> Plan {
        let host = HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() };
        let body = ContainerCreateBody {
            image: Some(TEST_IMAGE.to_owned()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        Plan { name: name.into(), body }
    }

    /// With the label by which compose names the project.
    pub fn in_project(self, project: &str) -> Plan {
        self.labelled(COMPOSE_PROJECT_LABEL, project)
    }

    /// With this label.
    pub fn labelled(mut self, key: &str, value: &str) -> Plan {
        let labels = self.body.labels.get_or_insert_default();
        labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With this as what it runs in a shell.
    pub fn running(mut self, script: &str) -> Plan {
        self.body.cmd = Some(["sh", "-c", script].map(str::to_owned).to_vec());
        self
    }

    /// With all rights.
    pub fn privileged(self) -> Plan {
        self.hosted(|host| host.privileged = Some(true))
    }

    /// With this file or folder of the host at the same path, for reading.
    pub fn sharing(self, path: &Path) -> Plan {
        let bind = format!("{0}:{0}:ro", path.display());
        self.hosted(|host| host.binds.get_or_insert_default().push(bind))
    }

    /// As `docker run --rm`.
    pub fn removed_at_its_end(self) -> Plan {
        self.hosted(|host| host.auto_remove = Some(true))
    }

    /// As `docker run --restart always`.
    pub fn always_restarted(self) -> Plan {
        let name = Some(RestartPolicyNameEnum::ALWAYS);
        self.hosted(|host| host.restart_policy = Some(RestartPolicy { name, maximum_retry_count: None }))
    }

    /// With a limit on its memory, in bytes.
    pub fn with_memory(self, bytes: i64) -> Plan {
        self.hosted(|host| host.memory = Some(bytes))
    }

    /// With a health check that runs this script all the time.
    pub fn with_health_check(mut self, script: &str) -> Plan {
        self.body.healthcheck = Some(HealthConfig {
            test: Some(["CMD", "sh", "-c", script].map(str::to_owned).to_vec()),
            interval: Some(100_000_000),
            timeout: Some(60_000_000_000),
            retries: Some(2),
            ..HealthConfig::default()
        });
        self
    }

    fn hosted(mut self, change: impl FnOnce(&mut HostConfig)) -> Plan {
        change(self.body.host_config.get_or_insert_default());
        self
    }
}

/// A connection to the engine.
#[derive(Clone, Debug)]
pub struct Driver {
    docker: Docker,
    /// The cgroup below which containers are made, unless that is the engine's matter.
    cgroup: Option<String>,
}

impl Driver {
    /// Connects, and agrees on the API's version.
    pub async fn connect(socket: &Path) -> Result<Driver> {
        let path = socket.to_str().context("a socket's path is text")?;
        let docker = Docker::connect_with_unix(path, REQUEST_LIMIT.as_secs(), API_DEFAULT_VERSION)?;
        let docker = docker.negotiate_version().await.context("cannot negotiate the API's version")?;
        Ok(Driver { docker, cgroup: None })
    }

    /// The same, with containers made below this cgroup: podman knows none that is its own.
    #[must_use]
    pub fn below(self, cgroup: &str) -> Driver {
        Driver { cgroup: Some(cgroup.to_owned()), ..self }
    }

    /// Makes a container and returns its ID.
    pub async fn create(&self, plan: Plan) -> Result<String> {
        let options = CreateContainerOptions { name: Some(plan.name.clone()), ..Default::default() };
        let Plan { name, body } = match &self.cgroup {
            Some(cgroup) => plan.hosted(|host| host.cgroup_parent = Some(cgroup.clone())),
            None => plan,
        };
        let created = self.docker.create_container(Some(options), body).await;
        Ok(created.with_context(|| format!("cannot make {name}"))?.id)
    }

    /// Makes and starts a container and returns its ID.
    pub async fn run(&self, plan: Plan) -> Result<String> {
        let id = self.create(plan).await?;
        self.start(&id).await?;
        Ok(id)
    }

    /// Makes and starts them all, and returns their IDs in the order of the plans.
    pub async fn run_all(&self, plans: impl IntoIterator<Item = Plan>) -> Result<Vec<String>> {
        stream::iter(plans).map(|plan| self.run(plan)).buffered(AT_ONCE).try_collect().await
    }

    /// Makes them all, and returns their IDs in the order of the plans.
    pub async fn create_all(&self, plans: impl IntoIterator<Item = Plan>) -> Result<Vec<String>> {
        stream::iter(plans).map(|plan| self.create(plan)).buffered(AT_ONCE).try_collect().await
    }

    /// Starts a container that is not alive.
    pub async fn start(&self, container: &str) -> Result<()> {
        let started = self.docker.start_container(container, None::<StartContainerOptions>).await;
        started.with_context(|| format!("cannot start {container}"))
    }

    /// Stops it, with this grace in seconds.
    pub async fn stop(&self, container: &str, grace: i32) -> Result<()> {
        let options = StopContainerOptions { t: Some(grace), ..Default::default() };
        let stopped = self.docker.stop_container(container, Some(options)).await;
        stopped.with_context(|| format!("cannot stop {container}"))
    }

    /// Sends a signal to the first process.
    pub async fn kill(&self, container: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        let killed = self.docker.kill_container(container, Some(options)).await;
        killed.with_context(|| format!("cannot kill {container}"))
    }

    /// Freezes it.
    pub async fn pause(&self, container: &str) -> Result<()> {
        self.docker.pause_container(container).await.with_context(|| format!("cannot pause {container}"))
    }

    /// Lets it run on.
    pub async fn unpause(&self, container: &str) -> Result<()> {
        self.docker.unpause_container(container).await.with_context(|| format!("cannot unpause {container}"))
    }

    /// Restarts it, with this grace in seconds.
    pub async fn restart(&self, container: &str, grace: i32) -> Result<()> {
        let options = RestartContainerOptions { t: Some(grace), ..Default::default() };
        let restarted = self.docker.restart_container(container, Some(options)).await;
        restarted.with_context(|| format!("cannot restart {container}"))
    }

    /// Gives it another name.
    pub async fn rename(&self, container: &str, name: &str) -> Result<()> {
        let options = RenameContainerOptions { name: name.to_owned() };
        let renamed = self.docker.rename_container(container, options).await;
        renamed.with_context(|| format!("cannot rename {container}"))
    }

    /// Removes a container like `docker rm -f`; does nothing if there is none, or if it is being removed.
    pub async fn remove(&self, container: &str) -> Result<()> {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        match self.docker.remove_container(container, Some(options)).await {
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove {container}")),
        }
    }

    /// Removes all containers but this one.
    pub async fn remove_all(&self, but: Option<&str>) -> Result<()> {
        let deadline = Instant::now() + REQUEST_LIMIT;
        loop {
            let mut left = self.all().await?;
            left.retain(|id| Some(id.as_str()) != but);
            if left.is_empty() {
                return Ok(());
            }
            // dockerd refuses to remove a container that is being removed already.
            ensure!(Instant::now() < deadline, "containers are still there: {left:?}");
            let removals = stream::iter(&left).map(async |id| {
                self.remove(id).await?;
                let _ = timeout(Duration::from_secs(1), self.gone(id)).await;
                anyhow::Ok(())
            });
            removals.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
    }

    /// Waits until dockerd reaches its containerd. If that was away, dockerd tries to only every few seconds, and fails
    /// at all that is asked of it meanwhile.
    pub async fn until_containerd_is_reached(&self) -> Result<()> {
        let deadline = Instant::now() + REQUEST_LIMIT;
        loop {
            let info = self.docker.info().await.context("cannot ask for the containerd")?;
            let revision = info.containerd_commit.and_then(|commit| commit.id).unwrap_or_default();
            if !matches!(revision.as_str(), "" | "N/A") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "dockerd does not reach its containerd");
            // No event reports it.
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether there is no such container any more, or only what dockerd could not remove of it: if something else was
    /// done to it meanwhile, it is dead, but stays, and cannot be started.
    pub async fn is_given_up(&self, container: &str) -> Result<bool> {
        let state = self.inspect(container).await?.map(|inspected| inspected.state.unwrap_or_default());
        Ok(state.is_none_or(|state| {
            state.dead == Some(true) || state.status == Some(ContainerStateStatusEnum::REMOVING)
        }))
    }

    /// Waits until there is no such container any more.
    pub async fn gone(&self, container: &str) {
        let options = WaitContainerOptions { condition: "removed".to_owned() };
        let mut waiting = self.docker.wait_container(container, Some(options));
        // An error says that there is none, or with which code it ended.
        while waiting.next().await.is_some_and(|answer| answer.is_ok()) {}
    }

    /// Connects it to a network.
    pub async fn connect_to(&self, container: &str, network: &str) -> Result<()> {
        let request =
            NetworkConnectRequest { container: container.to_owned(), ..NetworkConnectRequest::default() };
        let connected = self.docker.connect_network(network, request).await;
        connected.with_context(|| format!("cannot connect {container} to {network}"))
    }

    /// Disconnects it from a network.
    pub async fn disconnect_from(&self, container: &str, network: &str) -> Result<()> {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            ..NetworkDisconnectRequest::default()
        };
        let disconnected = self.docker.disconnect_network(network, request).await;
        disconnected.with_context(|| format!("cannot disconnect {container} from {network}"))
    }

    /// Runs a script in a container to its end.
    pub async fn exec(&self, container: &str, script: &str) -> Result<()> {
        let config = ExecConfig {
            cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            attach_stdout: Some(true),
            ..ExecConfig::default()
        };
        let made = self.docker.create_exec(container, config).await?;
        match self.docker.start_exec(&made.id, None::<StartExecOptions>).await? {
            StartExecResults::Attached { mut output, .. } => while output.try_next().await?.is_some() {},
            StartExecResults::Detached => bail!("the engine does not wait for the end of an exec"),
        }
        Ok(())
    }

    /// Starts a program in a container, and does not wait for its end.
    pub async fn exec_detached(&self, container: &str, program: &str) -> Result<()> {
        let config = ExecConfig { cmd: Some(vec![program.to_owned()]), ..ExecConfig::default() };
        let made = self.docker.create_exec(container, config).await?;
        self.docker
            .start_exec(&made.id, Some(StartExecOptions { detach: true, ..Default::default() }))
            .await?;
        Ok(())
    }

    /// All containers' IDs, with those that are not alive.
    pub async fn all(&self) -> Result<Vec<String>> {
        let options = ListContainersOptions { all: true, ..Default::default() };
        let listed = self.docker.list_containers(Some(options)).await.context("cannot list containers")?;
        // 20.10 now and then lists one as being removed for ever, which it does not know by its ID any more.
        let there = listed
            .into_iter()
            .filter(|container| container.state != Some(ContainerSummaryStateEnum::REMOVING));
        there.map(|container| container.id.context("a listed container has no ID")).collect()
    }

    /// `None` if there is none.
    pub async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>> {
        match self.docker.inspect_container(container, None::<InspectContainerOptions>).await {
            Ok(inspected) => Ok(Some(inspected)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot inspect {container}")),
        }
    }

    /// Waits until it is not alive; it is fine if there is none.
    pub async fn until_ended(&self, container: &str) -> Result<()> {
        match self.docker.wait_container(container, None::<WaitContainerOptions>).try_next().await {
            // An exit code that is not 0 is an error to bollard.
            Ok(_) | Err(Error::DockerContainerWaitError { .. }) => Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot wait for the end of {container}")),
        }
    }

    /// Waits until the engine has emitted so many events of this kind, ever.
    pub async fn await_events(&self, kind: &str, count: usize, filter: (&str, &str)) -> Result<()> {
        let reported = self.docker.events(Some(since_ever(kind, filter, None))).take(count);
        let reported: Vec<_> =
            reported.try_collect().await.with_context(|| format!("cannot await {kind}"))?;
        ensure!(reported.len() == count, "the engine's events ended");
        Ok(())
    }

    /// Follows the engine's events of containers from now on.
    pub fn follow(&self) -> impl Stream<Item = Result<EventMessage>> + Send + use<> {
        let filters = HashMap::from([("type".to_owned(), vec!["container".to_owned()])]);
        let since = Some(moment(Timestamp::now()));
        let reported = self.docker.events(Some(EventsOptions { since, until: None, filters: Some(filters) }));
        reported.map_err(|error| anyhow::Error::from(error).context("the engine's events ended"))
    }

    /// Counts the events of this kind that the engine remembers.
    pub async fn count_events(&self, kind: &str, filter: (&str, &str)) -> Result<usize> {
        Ok(self.events(kind, filter).await?.len())
    }

    /// Returns the ends of lives of which the engine remembers the events.
    pub async fn ends(&self) -> Result<Vec<End>> {
        let reported = self.events("die", ("type", "container")).await?;
        reported
            .into_iter()
            .map(|event| End::of(event).context("the end of a life is not fully reported"))
            .collect()
    }

    async fn events(&self, kind: &str, filter: (&str, &str)) -> Result<Vec<EventMessage>> {
        let until = moment(Timestamp::now());
        let reported = self.docker.events(Some(since_ever(kind, filter, Some(until))));
        reported.try_collect().await.with_context(|| format!("cannot ask for {kind}"))
    }
}

/// The end of a life, from the engine's event.
#[derive(Clone, Debug)]
pub struct End {
    /// Of the container.
    pub id: String,
    /// The time of the event.
    pub at: SystemTime,
    /// The first process's exit code.
    pub code: i64,
}

impl End {
    fn of(event: EventMessage) -> Option<End> {
        let actor = event.actor?;
        let code = actor.attributes?.get("exitCode")?.parse().ok()?;
        let at = UNIX_EPOCH + Duration::from_nanos(u64::try_from(event.time_nano?).ok()?);
        Some(End { id: actor.id?, at, code })
    }
}

fn moment(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

fn since_ever(kind: &str, filter: (&str, &str), until: Option<String>) -> EventsOptions {
    let filters = [("event", kind), filter];
    let filters: HashMap<_, _> =
        filters.into_iter().map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).collect();
    EventsOptions { since: Some("1".to_owned()), until, filters: Some(filters) }
}
