//! Real engines, private ones, and containers on them.

use std::path::Path;

use anyhow::{Context as _, Result};
use whalewatcher_bench::population;
use whalewatcher_drivers::{containerd, cri, docker};
use xtask::cache::Cache;
use xtask::engines::{
    Containerd, Docker, Engine, EngineKind, GivenPrograms, Installation, Packages, Release,
};

/// Whose engines are measured: those of a stable release.
const RELEASE: Release = Release::Trixie;

/// Starts dockerd; it ends with what is returned.
pub(crate) fn docker() -> Result<Docker> {
    let docker = Docker::start(&installation(EngineKind::Docker)?, &Default::default())?;
    docker.load_test_image()?;
    Ok(docker)
}

/// Starts containerd; it ends with what is returned.
pub(crate) fn containerd() -> Result<Containerd> {
    Containerd::start(&installation(EngineKind::Containerd)?, None)
}

/// Starts containerd with its CRI plugin; it ends with what is returned.
pub(crate) fn cri() -> Result<Containerd> {
    Containerd::start(&installation(EngineKind::Cri)?, None)
}

fn installation(kind: EngineKind) -> Result<Installation> {
    let engine = Engine { kind, release: RELEASE };
    let cache = Cache::open()?;
    Packages::of(&cache).fetch(&[engine], false).with_context(|| format!("cannot fetch {engine}"))?;
    Installation::find(&cache, engine, &GivenPrograms::default())
}

/// The value for `DOCKER_HOST` and the like.
pub(crate) fn endpoint(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

/// The container of this number of the population.
pub(crate) fn docker_plan(number: usize) -> docker::Plan {
    let plan = docker::Plan::named(population::name(number));
    population::labels(number).iter().fold(plan, |plan, (key, value)| plan.labelled(key, value))
}

/// The same for containerd, where it is nerdctl that has the same labels.
pub(crate) fn containerd_plan(number: usize) -> containerd::Plan {
    let name = population::name(number);
    let plan = containerd::Plan::of(format!("default/{}", population::id(number))).named(&name);
    population::labels(number).iter().fold(plan, |plan, (key, value)| plan.labelled(key, value))
}

/// The same for CRI, without the pod that it is to be in.
pub(crate) fn cri_plan(number: usize) -> cri::ContainerPlan {
    let plan = cri::ContainerPlan::named(population::name(number));
    population::labels(number).iter().fold(plan, |plan, (key, value)| plan.labelled(key, value))
}
