//! Driving CRI by clients and on a connection of its own, as a kubelet does: none of what is tested has a part in it.

mod plan;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use xtask::engines::{PAUSE_IMAGE, PrivateEngine, TEST_IMAGE};

use crate::EngineFailure;
use plan::image;

use crate::api::runtime::v1::image_service_client::ImageServiceClient;
use crate::api::runtime::v1::runtime_service_client::RuntimeServiceClient;
use crate::api::runtime::v1::{
    Container, ContainerStatus, ContainerStatusRequest, CreateContainerRequest, ExecSyncRequest,
    ImageStatusRequest, ListContainersRequest, ListPodSandboxRequest, PodSandbox, PodSandboxStatus,
    PodSandboxStatusRequest, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopContainerRequest, StopPodSandboxRequest, VersionRequest, VersionResponse,
};

pub use plan::{ContainerPlan, Pod, PodPlan};

/// How many pods are dealt with at once where it does not matter how many.
pub const AT_ONCE: usize = 8;

/// No answer takes longer unless something hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Whatever is waited for has happened by then, or never will.
const LIMIT: Duration = Duration::from_secs(60);

/// As much as containerd sends in one message.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// A connection to CRI, and where pods are to be.
#[derive(Clone, Debug)]
pub struct Driver {
    channel: Channel,
    cgroup: String,
}

/// A verbose status.
#[derive(Clone, Debug)]
pub struct Verbose<S> {
    /// What CRI defines.
    pub status: S,
    /// What the runtime adds in its own format, by name.
    pub info: HashMap<String, String>,
}

/// What is asked for, or why it is not.
async fn answered<T>(
    asking: impl Future<Output = Result<Response<T>, Status>>,
    what: impl FnOnce() -> String,
) -> Result<T> {
    let answer = match timeout(ANSWER_LIMIT, asking).await {
        Ok(answer) => answer.map_err(anyhow::Error::from),
        Err(_) => {
            Err(anyhow::anyhow!(EngineFailure(format!("no answer within {} s", ANSWER_LIMIT.as_secs()))))
        }
    };
    Ok(answer.with_context(what)?.into_inner())
}

/// What is not there is no error.
fn if_there<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error)
            if error.downcast_ref::<Status>().is_some_and(|status| status.code() == Code::NotFound) =>
        {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

impl Driver {
    /// Connects when something is asked for.
    pub fn new(containerd: &PrivateEngine) -> Result<Driver> {
        let endpoint = format!("unix://{}", containerd.socket().display());
        let channel = Endpoint::from_shared(endpoint).context("no endpoint")?.connect_lazy();
        Ok(Driver { channel, cgroup: containerd.cgroup() })
    }

    /// The client itself.
    pub fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// Waits until CRI answers and has both images. containerd listens a moment before its CRI plugin is ready, and the
    /// plugin learns of images by events. Nothing announces either, so this polls.
    pub async fn ready(&self) -> Result<VersionResponse> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.version_with_images().await {
                Ok(version) => return Ok(version),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("CRI does not get ready"));
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn version_with_images(&self) -> Result<VersionResponse> {
        // Unlike the version, lists are answered only when the plugin has recovered all that existed before.
        self.pods().await?;
        for name in [PAUSE_IMAGE, TEST_IMAGE] {
            let mut images = ImageServiceClient::new(self.channel.clone());
            let request = ImageStatusRequest { image: Some(image(name)), verbose: false };
            let status = answered(images.image_status(request), || format!("cannot ask for {name}")).await?;
            ensure!(status.image.is_some(), "there is no image {name}");
        }
        let request = VersionRequest { version: String::new() };
        answered(self.runtime().version(request), || "cannot ask for the version".to_owned()).await
    }

    /// Makes a pod and starts its sandbox.
    pub async fn run_pod(&self, plan: &PodPlan) -> Result<Pod> {
        let config = plan.config(&self.cgroup);
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let mut runtime = self.runtime();
        let run = answered(runtime.run_pod_sandbox(request), || format!("cannot run a sandbox: {plan:?}"));
        Ok(Pod { id: run.await?.pod_sandbox_id, config })
    }

    /// Makes several at once, in the order of their plans.
    pub async fn run_pods(&self, plans: impl IntoIterator<Item = PodPlan>) -> Result<Vec<Pod>> {
        let running = stream::iter(plans).map(|plan| async move { self.run_pod(&plan).await });
        running.buffered(AT_ONCE).try_collect().await
    }

    /// Makes a container without starting it, and returns its ID.
    pub async fn create(&self, pod: &Pod, plan: &ContainerPlan) -> Result<String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(plan.config(&pod.config)),
            sandbox_config: Some(pod.config.clone()),
        };
        let mut runtime = self.runtime();
        let created = answered(runtime.create_container(request), || format!("cannot make {plan:?}"));
        Ok(created.await?.container_id)
    }

    /// Starts a container that was made.
    pub async fn start(&self, id: &str) -> Result<()> {
        let request = StartContainerRequest { container_id: id.to_owned() };
        answered(self.runtime().start_container(request), || format!("cannot start {id}")).await.map(drop)
    }

    /// Makes a container and starts it.
    pub async fn run(&self, pod: &Pod, plan: &ContainerPlan) -> Result<String> {
        let id = self.create(pod, plan).await?;
        self.start(&id).await?;
        Ok(id)
    }

    /// Ends a container at once.
    pub async fn stop(&self, id: &str) -> Result<()> {
        self.stop_within(id, 0).await
    }

    /// Asks a container to end, and ends it after so many seconds.
    pub async fn stop_within(&self, id: &str, seconds: i64) -> Result<()> {
        let request = StopContainerRequest { container_id: id.to_owned(), timeout: seconds };
        answered(self.runtime().stop_container(request), || format!("cannot stop {id}")).await.map(drop)
    }

    /// Removes a container, whatever state it is in.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let request = RemoveContainerRequest { container_id: id.to_owned() };
        answered(self.runtime().remove_container(request), || format!("cannot remove {id}")).await.map(drop)
    }

    /// Ends a sandbox and all containers of its pod.
    pub async fn stop_pod(&self, id: &str) -> Result<()> {
        let request = StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        answered(self.runtime().stop_pod_sandbox(request), || format!("cannot stop pod {id}")).await.map(drop)
    }

    /// Ends and removes a sandbox and all containers of its pod.
    pub async fn remove_pod(&self, id: &str) -> Result<()> {
        self.stop_pod(id).await?;
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let mut runtime = self.runtime();
        answered(runtime.remove_pod_sandbox(request), || format!("cannot remove pod {id}")).await.map(drop)
    }

    /// Runs a program beside a container's first one, waits for its end, and returns its exit code and what it printed.
    pub async fn exec(&self, id: &str, script: &str) -> Result<(i32, String)> {
        let cmd = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: 0 };
        let mut runtime = self.runtime();
        let done = answered(runtime.exec_sync(request), || format!("cannot run '{script}' in {id}")).await?;
        Ok((done.exit_code, String::from_utf8_lossy(&done.stdout).into_owned()))
    }

    /// Waits until a container has ended, and returns its exit code. CRI reports it in its events only, which on
    /// containerd 1.x are the kubelet's, so this polls.
    pub async fn ended(&self, id: &str) -> Result<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let Some(container) = self.container(id).await? else { bail!("{id} is not there any more") };
            if container.status.finished_at > 0 {
                return Ok(container.status.exit_code);
            }
            if Instant::now() > deadline {
                bail!(EngineFailure(format!("{id} does not end: {:?}", container.status)));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every container, whatever state it is in.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        let request = ListContainersRequest { filter: None };
        let mut runtime = self.runtime();
        let listed = answered(runtime.list_containers(request), || "cannot list containers".to_owned());
        Ok(listed.await?.containers)
    }

    /// Every sandbox, whatever state it is in.
    pub async fn pods(&self) -> Result<Vec<PodSandbox>> {
        let request = ListPodSandboxRequest { filter: None };
        let mut runtime = self.runtime();
        let listed = answered(runtime.list_pod_sandbox(request), || "cannot list sandboxes".to_owned());
        Ok(listed.await?.items)
    }

    /// The status of a container; `None` if there is none.
    pub async fn container(&self, id: &str) -> Result<Option<Verbose<ContainerStatus>>> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let mut runtime = self.runtime();
        let answer = answered(runtime.container_status(request), || format!("cannot ask for {id}")).await;
        let Some(answer) = if_there(answer)? else { return Ok(None) };
        let status = answer.status.with_context(|| format!("{id} has no status"))?;
        Ok(Some(Verbose { status, info: answer.info }))
    }

    /// The status of a sandbox; `None` if there is none.
    pub async fn pod(&self, id: &str) -> Result<Option<Verbose<PodSandboxStatus>>> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let mut runtime = self.runtime();
        let answer =
            answered(runtime.pod_sandbox_status(request), || format!("cannot ask for pod {id}")).await;
        let Some(answer) = if_there(answer)? else { return Ok(None) };
        let status = answer.status.with_context(|| format!("pod {id} has no status"))?;
        Ok(Some(Verbose { status, info: answer.info }))
    }
}
