//! Engines that are found, killed and restarted under a discovering fleet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};
use whalewatcher_containerd as containerd;
use whalewatcher_core::fleet::FleetPortfolio;
use whalewatcher_core::{EngineKey, Fleet};
use whalewatcher_discover::{ContainerdDetector, Discovery, DockerDetector, discover};
use whalewatcher_drivers::docker::Plan;

use crate::announced::Announced;
use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;
use crate::made_up_host::MadeUpHost;
use crate::recorder::LIMIT;

/// How long an engine may be away in these scenarios.
const GRACE: Duration = Duration::from_secs(60);

const DOCKER: &str = "docker.com";
const CONTAINERD: &str = "containerd.io";

/// A fleet that finds the fixture's engines.
pub(super) struct Found<'a> {
    fixture: &'a DockerFixture,
    host: MadeUpHost,
    _fleet: Arc<Fleet>,
    _discovery: Discovery,
    pub(super) announced: Announced,
}

impl<'a> Found<'a> {
    pub(super) async fn new(fixture: &'a DockerFixture, grace: Duration) -> Result<Found<'a>> {
        let host = MadeUpHost::new()?;
        host.show(block_in_place(|| fixture.engine().processes())?)?;
        let fleet = Arc::new(Fleet::new());
        let announced = Announced::start(&fleet);
        // containerd's view of dockerd's containers is part of the fleet, too.
        let all_namespaces = |builder: containerd::Builder| builder.ignored_namespaces([""; 0]);
        let options = host
            .options()
            .without_detectors()
            .with_detector(DockerDetector::new())
            .with_detector(ContainerdDetector::configured(all_namespaces))
            .with_grace(grace);
        let discovery = discover(&fleet, options);
        timeout(LIMIT, discovery.settled()).await.context("the engines are not found")?;
        Ok(Found { fixture, host, _fleet: fleet, _discovery: discovery, announced })
    }

    /// Has the discovery see the processes that run now.
    fn show_processes(&self) -> Result<()> {
        self.host.show(block_in_place(|| self.fixture.engine().processes())?)
    }

    pub(super) async fn until_reported(&self, words: &str, times: usize) -> Result<()> {
        self.announced.until_reported(words, times).await
    }

    fn count(&self, words: &str) -> usize {
        self.announced.so_far().count(words)
    }

    fn alive(&self) -> FleetPortfolio {
        self.announced.so_far().fold.clone()
    }

    /// What happened, for people.
    fn tail(&self) -> String {
        self.announced.so_far().tail()
    }

    fn engines(&self) -> Vec<EngineKey> {
        self.alive().members().map(|member| member.key().clone()).collect()
    }

    /// Compares the picture, in which each container is dockerd's, with what dockerd says, once it shows this
    /// container.
    async fn check(&self, newest: &str) -> Result<()> {
        self.until_reported(&format!("started {newest}"), 1).await?;
        let truth = self.fixture.truth().await?;
        let mut expected: Vec<_> = truth.alive.iter().map(|(id, alive)| (id.clone(), alive.pid)).collect();
        let alive = self.alive();
        let found = alive.containers().map(|(_, found)| (found.id().as_str().to_owned(), found.pid()));
        let mut found: Vec<_> = found.collect();
        expected.sort();
        found.sort();
        ensure!(found == expected, "{found:?} is not {expected:?}: {}", self.tail());
        self.announced.so_far().is_right()
    }
}

pub(super) async fn dockerd_and_containerd_show_each_container_once_and_a_restarted_dockerd_is_the_same(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    docker.run_all((0..3).map(|number| Plan::named(format!("stays-{number}")))).await?;
    let found = Found::new(fixture, GRACE).await?;
    found.until_reported(&format!("synced {DOCKER}"), 1).await?;
    found.until_reported(&format!("synced {CONTAINERD}"), 1).await?;
    let engines = found.engines();
    docker.run(Plan::named("first")).await?;
    found.check("first").await?;
    let mut delays = Vec::new();
    for round in 0..3 {
        let name = format!("round-{round}");
        fixture.kill_engine()?;
        fixture.start_engine_with(true)?;
        found.show_processes()?;
        let began = Instant::now();
        found.until_reported(&format!("synced {DOCKER}"), round + 2).await?;
        delays.push(began.elapsed());
        fixture.driver().await?.run(Plan::named(&name)).await?;
        found.check(&name).await?;
    }
    ensure!(found.engines() == engines, "{:?} became {:?}", engines, found.engines());
    for name in ["first", "round-0", "round-1"] {
        let events = ["started", "exited", "moved"].map(|kind| found.count(&format!("{kind} {name}")));
        ensure!(events == [1, 0, 0], "{name}: {events:?} in {}", found.tail());
    }
    for stays in ["stays-0", "stays-1", "stays-2"] {
        // Whichever engine was in sync first has shown it.
        let shown = found.count(&format!("started {stays}")) + found.count(&format!("moved {stays}"));
        ensure!(shown == 1, "{stays} is shown by dockerd {shown} times: {}", found.tail());
    }
    ensure!(found.count("exited") == 0, "{}", found.tail());
    let ended = found.alive().by_name("first").map(|(_, container)| container.id().to_string()).next();
    fixture.driver().await?.kill(&ended.context("it is alive")?, "KILL").await?;
    found.until_reported("exited first", 1).await?;
    fixture.driver().await?.run(Plan::named("last")).await?;
    found.check("last").await?;
    ensure!(found.count("exited") == 1, "{}", found.tail());
    fixture.figure(format!("in sync after restarts within {:?}", delays.iter().max()));
    Ok(())
}

pub(super) async fn a_dockerd_that_stays_away_leaves_its_containers_to_containerd_until_it_comes_back(
    fixture: &DockerFixture,
) -> Result<()> {
    fixture.driver().await?.run(Plan::named("web")).await?;
    let found = Found::new(fixture, Duration::from_secs(2)).await?;
    found.until_reported(&format!("synced {DOCKER}"), 1).await?;
    fixture.kill_engine()?;
    found.until_reported(&format!("left {DOCKER}"), 1).await?;
    // Its containers are alive, and containerd's for now.
    let is_shown_by = |found: &Found<'_>, engine: &str| {
        let alive = found.alive();
        let mut shown = alive.containers();
        alive.total() > 0 && shown.all(|(member, _)| member.key().engine_type() == engine)
    };
    ensure!(is_shown_by(&found, CONTAINERD), "{}", found.tail());
    ensure!(found.engines().iter().all(|key| key.engine_type() != DOCKER), "{:?}", found.engines());
    fixture.start_engine_with(true)?;
    let began = Instant::now();
    found.show_processes()?;
    found.until_reported(&format!("synced {DOCKER}"), 2).await?;
    fixture.figure(format!("found again after {:?}", began.elapsed()));
    ensure!(is_shown_by(&found, DOCKER), "{}", found.tail());
    ensure!(found.count("exited") == 0, "{}", found.tail());
    Ok(())
}
