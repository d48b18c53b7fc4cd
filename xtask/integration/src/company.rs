//! Engines of all kinds on one host, at once: containers and pods come and go, engines are killed, stopped
//! and started, and a fleet that finds them shows each container once, as the engines themselves say.

mod engines;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use fastrand::Rng;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};
use whalewatcher_core::fleet::{FleetPortfolio, FleetSubscription};
use whalewatcher_core::{EngineKey, Fleet};
use whalewatcher_discover::{
    ContainerdDetector, CriDetector, Discovery, DockerDetector, PodmanDetector, discover,
};
use xtask::engines::Release;

use crate::announced::Announced;
use crate::containerd::ContainerdFixture;
use crate::docker::churn::{Churn as DockerChurn, churn as churn_docker};
use crate::fixture::{FENCE, Fixture, settings};
use crate::made_up_host::MadeUpHost;
use crate::random_steps::{RandomSteps, seed};
use crate::recorder::LIMIT;
use crate::scenarios::Stopped;
use engines::{Engines, Which};

/// How long an engine may be away before it leaves: shorter than some outages, longer than others.
const GRACE: Duration = Duration::from_secs(2);

/// For how long nothing is announced when all has come to rest. That nothing comes can only be waited for.
const QUIET: Duration = Duration::from_millis(100);

/// How many things are done at once on each engine.
const WORKERS: usize = 2;

/// How many containers of dockerd are churned.
const CHURNED: usize = 8;

pub(crate) async fn engines_of_all_kinds_come_and_go_and_the_picture_is_what_they_say(
    fixture: &ContainerdFixture,
) -> Result<()> {
    if fixture.engine().engine().release != Release::Trixie {
        return Ok(());
    }
    play(fixture, |round| round < 2).await
}

/// Plays the scenario for so many minutes.
pub(crate) async fn soak(fixture: &ContainerdFixture, minutes: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let outcome = play(fixture, |_| Instant::now() < end).await;
    println!("{}", fixture.take_figures().join("\n"));
    fixture.clear().await.and(outcome)
}

async fn play(fixture: &ContainerdFixture, goes_on: impl Fn(usize) -> bool) -> Result<()> {
    let seed = seed(fixture)?;
    let engines = Engines::start(fixture).await?;
    let played = async {
        let mut company = Company::gather(&engines, seed).await?;
        let mut random = Rng::with_seed(seed);
        let mut rounds = 0;
        company.check().await.context("at the start")?;
        while goes_on(rounds) {
            company.round(&mut random)?;
            company.check().await.with_context(|| format!("after round {rounds}"))?;
            rounds += 1;
        }
        let outages = rounds * Which::ALL.len();
        fixture.figure(format!("{outages} outages; {}", company.describe()));
        anyhow::Ok(())
    };
    let played = played.await;
    played.and(engines.stop())
}

/// The engines, the fleet that watches them, and what happens to their containers.
struct Company<'a> {
    engines: &'a Engines<'a>,
    host: MadeUpHost,
    fleet: Arc<Fleet>,
    discovery: Discovery,
    announced: Announced,
    /// What another subscriber knows, which reads only when all has come to rest.
    late: (FleetPortfolio, FleetSubscription),
    docker: RandomSteps<DockerChurn>,
    containerd: RandomSteps<<ContainerdFixture as Fixture>::Steps>,
    cri: RandomSteps<<crate::cri::CriFixture as Fixture>::Steps>,
    podman: RandomSteps<<crate::podman::PodmanFixture as Fixture>::Steps>,
    /// How often everything was checked.
    checks: usize,
}

impl<'a> Company<'a> {
    async fn gather(engines: &'a Engines<'a>, seed: u64) -> Result<Company<'a>> {
        let host = MadeUpHost::new()?;
        // podman is found in its usual place, and the others by their processes.
        host.link("run/podman/podman.sock", &engines.podman.engine().socket())?;
        let fleet = Arc::new(Fleet::new());
        let (announced, late) = (Announced::start(&fleet), fleet.subscribe());
        let options = host.options().without_detectors();
        let options = options
            .with_detector(PodmanDetector::new())
            .with_detector(DockerDetector::new())
            // Its view of the containers of dockerd and CRI is part of the fleet, too.
            .with_detector(ContainerdDetector::configured(|builder| builder.ignored_namespaces([""; 0])))
            .with_detector(CriDetector::new())
            .with_settings(settings())
            .with_grace(GRACE);
        host.show(Which::ALL.iter().filter_map(|which| engines.pid(*which)))?;
        let company = Company {
            host,
            announced,
            late,
            docker: churn_docker(&engines.docker().await?, CHURNED, seed).await?,
            containerd: engines.containerd.churn(seed + 1).await?,
            cri: engines.cri.churn(seed + 2).await?,
            podman: engines.podman.churn(seed + 3).await?,
            discovery: discover(&fleet, options),
            fleet,
            engines,
            checks: 0,
        };
        timeout(LIMIT, company.discovery.settled()).await.context("the engines are not found")?;
        Ok(company)
    }

    /// Each engine fails once, while containers come and go on all of them.
    fn round(&self, random: &mut Rng) -> Result<()> {
        let handle = Handle::current();
        let (over, until_over) = oneshot::channel::<()>();
        block_in_place(|| {
            thread::scope(|scope| {
                // Starting and killing engines blocks, and nothing else is to wait for it.
                let outages = thread::Builder::new().spawn_scoped(scope, || {
                    let outcome = handle.block_on(self.outages(random));
                    drop(over);
                    outcome
                })?;
                let churn = self.docker.during(
                    WORKERS,
                    self.containerd
                        .during(WORKERS, self.cri.during(WORKERS, self.podman.during(WORKERS, until_over))),
                );
                // It ends by being dropped.
                let _ = Handle::current().block_on(churn);
                outages.join().map_err(|_| anyhow!("an outage panicked"))?
            })
        })
    }

    async fn outages(&self, random: &mut Rng) -> Result<()> {
        let mut order = Which::ALL;
        random.shuffle(&mut order);
        for which in order {
            self.others_do(which, 4).await;
            match random.u8(0..5) {
                0 => {
                    let _stopped = Stopped::new(self.engines.pid(which))?;
                    self.others_do(which, random.usize(1..20)).await;
                }
                way => {
                    self.engines.kill(which)?;
                    self.show()?;
                    match way {
                        1 => self.until_left(which).await?,
                        2 => self.others_do(which, random.usize(1..20)).await,
                        _ => {}
                    }
                    self.engines.start_again(which, random.bool())?;
                    self.show()?;
                }
            }
        }
        Ok(())
    }

    /// Has discovery see the processes that run now.
    fn show(&self) -> Result<()> {
        self.host.show(Which::ALL.iter().filter_map(|which| self.engines.pid(*which)))
    }

    /// Waits until so many things were done on an engine that works without that one.
    async fn others_do(&self, which: Which, count: usize) {
        match which {
            Which::Podman => self.cri.until_transitions(self.cri.transitions() + count).await,
            _ => self.podman.until_transitions(self.podman.transitions() + count).await,
        }
    }

    async fn until_left(&self, which: Which) -> Result<()> {
        let has_left = |fold: &FleetPortfolio| {
            fold.members().all(|member| !self.engines.is_watched_by(which, member.key()))
        };
        self.announced.until(&format!("{which:?} leaves"), |so_far| has_left(&so_far.fold)).await
    }

    /// Checks everything, once nothing happens any more.
    async fn check(&mut self) -> Result<()> {
        self.engines.docker().await?.until_containerd_is_reached().await?;
        self.docker.settle().await.context("dockerd")?;
        self.containerd.settle().await.context("containerd")?;
        self.cri.settle().await.context("CRI")?;
        self.podman.settle().await.context("podman")?;
        // Once these containers are there, all earlier events have arrived.
        let mut fences = Vec::new();
        for which in Which::ALL {
            let name = format!("{FENCE}{}-{which:?}", self.checks).to_lowercase();
            self.engines.show_fence(which, &name).await?;
            fences.push(name);
        }
        self.checks += 1;
        let is_there = |fold: &FleetPortfolio| {
            let found = |name: &String| fold.by_name(name).next().is_some();
            fold.members().count() == 5
                && fold.members().all(|member| member.is_live())
                && fences.iter().all(found)
        };
        self.announced.until("all engines are in sync", |so_far| is_there(&so_far.fold)).await?;
        self.until_right().await?;
        self.is_borne_out()?;
        let findings = self.discovery.findings();
        ensure!(findings.is_empty(), "{findings:?}");
        let (alive, changes) = &mut self.late;
        while alive.revision() < self.fleet.portfolio().revision() {
            let change =
                timeout(LIMIT, changes.next()).await.context("a late subscriber receives nothing")?;
            alive.apply(&change.context("the fleet was closed")?);
        }
        ensure!(*alive == self.fleet.portfolio(), "what a late subscriber knows is not the portfolio");
        Ok(())
    }

    /// Fails if anything was announced that did not happen.
    fn is_borne_out(&self) -> Result<()> {
        let so_far = self.announced.so_far();
        so_far.is_right()?;
        let lives = self.containerd.lives();
        for ((id, pid), count) in &so_far.begun {
            // The containers of all others have IDs of their own.
            let is_churned = id.split('/').all(|part| part.len() < 10) && !id.starts_with(FENCE);
            let most = if is_churned { lives.times(id, *pid) } else { 1 };
            ensure!(*count <= most || *pid == 0, "the start of {id}, PID {pid}, was announced {count} times");
        }
        Ok(())
    }

    /// Waits until the picture is what the engines say, and stays so.
    async fn until_right(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let reported = self.announced.len();
            let mut wrong = self.differences().await?;
            if wrong.is_empty() {
                sleep(QUIET).await;
                wrong = self.differences().await?;
                if wrong.is_empty() && self.announced.len() == reported {
                    return Ok(());
                }
            } else {
                self.announced.next_within(Duration::from_millis(50)).await;
            }
            if Instant::now() > deadline {
                let wrong = wrong.join("\n    ");
                bail!(
                    "the picture is not what the engines say:\n    {wrong}\n{}",
                    self.announced.so_far().tail()
                );
            }
        }
    }

    async fn differences(&self) -> Result<Vec<String>> {
        let all = self.engines.truth().await?;
        let fold = self.announced.so_far().fold.clone();
        let mut wrong = Vec::new();
        if fold != self.fleet.portfolio() {
            wrong.push("the events do not add up to the portfolio".to_owned());
        }
        for said in &all {
            let is_it = |key: &EngineKey| {
                key.engine_type() == said.engine_type && self.engines.is_watched_by(said.which, key)
            };
            match fold.members().find(|member| is_it(member.key())) {
                Some(member) => {
                    let of = |line| format!("{}: {line}", said.engine_type);
                    wrong.extend(said.truth.differences(member.portfolio()).into_iter().map(of));
                }
                None => wrong.push(format!("{} is not watched", said.engine_type)),
            }
        }
        Ok(wrong)
    }

    fn describe(&self) -> String {
        let transitions = [
            self.docker.transitions(),
            self.containerd.transitions(),
            self.cri.transitions(),
            self.podman.transitions(),
        ];
        let so_far = self.announced.so_far();
        format!(
            "{transitions:?} transitions on dockerd, containerd, CRI and podman; announced were {:?}",
            so_far.counts()
        )
    }
}
