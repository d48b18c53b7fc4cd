//! Engines of all kinds at once: a containerd with a dockerd on it, another one that runs pods, and podman.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::task::block_in_place;
use whalewatcher_core::EngineKey;
use whalewatcher_discover::PREFIX_LABEL;
use whalewatcher_drivers::{containerd, docker};
use xtask::cache::Cache;
use xtask::engines::{Engine, GivenPrograms, Installation, Options, Packages, PrivateEngine};

use crate::containerd::{ContainerdFixture, truth as containerd_truth};
use crate::cri::CriFixture;
use crate::docker::truth as docker_truth;
use crate::fixture::{Fixture, Shared};
use crate::podman::PodmanFixture;
use crate::truth::Truth;

/// One of the daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Dockerd,
    Containerd,
    /// The containerd that runs pods.
    Cri,
    Podman,
}

impl Which {
    pub(super) const ALL: [Which; 4] = [Which::Dockerd, Which::Containerd, Which::Cri, Which::Podman];
}

pub(super) struct Engines<'a> {
    pub(super) containerd: &'a ContainerdFixture,
    pub(super) cri: CriFixture,
    pub(super) podman: PodmanFixture,
    docker_socket: PathBuf,
}

/// What a daemon says through one of its APIs.
pub(super) struct Said {
    pub(super) which: Which,
    pub(super) engine_type: &'static str,
    pub(super) truth: Truth,
}

const CONTAINERD: &str = "containerd.io";

/// Starts another private engine.
fn start(name: &str) -> Result<PrivateEngine> {
    let (cache, engine) = (Cache::open()?, name.parse::<Engine>()?);
    Packages::of(&cache).fetch(&[engine], false)?;
    PrivateEngine::start(&Installation::find(&cache, engine, &GivenPrograms::default())?, &Options::default())
}

impl<'a> Engines<'a> {
    pub(super) async fn start(containerd: &'a ContainerdFixture) -> Result<Engines<'a>> {
        let engines = block_in_place(|| {
            let cri = CriFixture::new(Shared::new(start("cri@trixie")?));
            let podman = PodmanFixture::new(Shared::new(start("podman@bookworm")?));
            let docker_socket = containerd.engine().start_dockerd(true)?;
            anyhow::Ok(Engines { containerd, cri, podman, docker_socket })
        })?;
        // It keeps what the scenario left in it if it was played before.
        engines.docker().await?.remove_all(None).await?;
        Ok(engines)
    }

    /// Ends the dockerd; the others end when they are dropped.
    pub(super) fn stop(self) -> Result<()> {
        block_in_place(|| {
            self.containerd.engine().kill_dockerd()?;
            self.cri.release_driver();
            self.podman.release_driver();
            self.cri.engine().stop()?;
            self.podman.engine().stop()
        })
    }

    pub(super) async fn docker(&self) -> Result<docker::Driver> {
        docker::Driver::connect(&self.docker_socket).await
    }

    /// The PID of a daemon, while it runs.
    pub(super) fn pid(&self, which: Which) -> Option<u32> {
        match which {
            Which::Dockerd => self.containerd.engine().pid_of("dockerd"),
            Which::Containerd => self.containerd.engine().pid(),
            Which::Cri => self.cri.engine().pid(),
            Which::Podman => self.podman.engine().pid(),
        }
    }

    pub(super) fn kill(&self, which: Which) -> Result<()> {
        match which {
            Which::Dockerd => block_in_place(|| self.containerd.engine().kill_dockerd()),
            Which::Containerd => self.containerd.kill_engine(),
            Which::Cri => self.cri.kill_engine(),
            Which::Podman => self.podman.kill_engine(),
        }
    }

    /// Starts a daemon that was killed. A dockerd ends its containers then, unless it is to keep them.
    pub(super) fn start_again(&self, which: Which, keeps: bool) -> Result<()> {
        match which {
            Which::Dockerd => block_in_place(|| self.containerd.engine().start_dockerd(keeps)).map(drop),
            Which::Containerd => self.containerd.start_engine(),
            Which::Cri => self.cri.start_engine(),
            Which::Podman => self.podman.start_engine(),
        }
    }

    /// Returns whether a member of a fleet watches this daemon.
    pub(super) fn is_watched_by(&self, which: Which, key: &EngineKey) -> bool {
        let folder = match which {
            Which::Dockerd => return key.engine_type() == "docker.com",
            Which::Podman => return key.engine_type() == "podman.io",
            Which::Containerd => self.containerd.engine().folder(),
            Which::Cri => self.cri.engine().folder(),
        };
        // A dockerd's socket is in the folder of its containerd.
        key.endpoint().ends_with("containerd.sock") && key.endpoint().contains(&folder.display().to_string())
    }

    /// Has the engine run a container of this name.
    pub(super) async fn show_fence(&self, which: Which, name: &str) -> Result<()> {
        let shown = match which {
            Which::Dockerd => self.docker().await?.run(docker::Plan::named(name)).await.map(Some),
            Which::Containerd => self.containerd.show_fence(name).await,
            Which::Cri => self.cri.show_fence(name).await,
            Which::Podman => self.podman.show_fence(name).await,
        };
        shown.map(drop).with_context(|| format!("{which:?} runs no container"))
    }

    /// Asks all of them what is alive. What a higher engine says of a container counts, and not what the one
    /// below it says.
    pub(super) async fn truth(&self) -> Result<Vec<Said>> {
        let runtime = async |which, engine: &PrivateEngine, higher: &Truth| {
            let driver = containerd::Driver::new(engine)?;
            let mut truth = containerd_truth::ask(engine, &driver, &[]).await?;
            truth.alive.retain(|id, _| !higher.alive.contains_key(containerd::split(id).1));
            anyhow::Ok(said(which, CONTAINERD, truth))
        };
        let docker = docker_truth::ask(&self.docker().await?).await?;
        let containerd = runtime(Which::Containerd, self.containerd.engine(), &docker).await?;
        let cri = self.cri.truth().await?;
        let below_cri = runtime(Which::Cri, self.cri.engine(), &cri).await?;
        Ok(vec![
            said(Which::Dockerd, "docker.com", docker),
            containerd,
            said(Which::Cri, "k8s.io/cri-api", cri),
            below_cri,
            said(Which::Podman, "podman.io", self.podman.truth().await?),
        ])
    }
}

fn said(which: Which, engine_type: &'static str, mut truth: Truth) -> Said {
    for alive in truth.alive.values_mut() {
        // None of the engines is in a container.
        alive.labels.insert(PREFIX_LABEL.to_owned(), String::new());
    }
    Said { which, engine_type, truth }
}
