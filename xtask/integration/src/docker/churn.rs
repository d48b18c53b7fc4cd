//! Random transitions of containers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio::sync::watch;
use whalewatcher_drivers::docker::{Driver, Plan};

use crate::fixture::{Fixture, settings};
use crate::watched::Watched;

/// Names the seed of a run that is to be repeated; what the engine makes of it differs all the same.
const SEED: &str = "WHALEWATCHER_SEED";

/// Returns the seed of a run: a new one, unless the environment names it. It is printed, so that the run can be repeated.
pub(crate) fn seed(report: impl FnOnce(String)) -> Result<u64> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED} is no number"))?,
        Err(_) => fastrand::u64(..1_000_000),
    };
    report(format!("{SEED}={seed}"));
    Ok(seed)
}

/// A number of containers, called by their names. The same containers may be churned by several at once.
pub(crate) struct Churn {
    slots: Vec<Slot>,
    /// Those that end by themselves at once, each time that they are started.
    brief: Mutex<Vec<String>>,
    transitions: watch::Sender<usize>,
    refused: AtomicUsize,
    seed: u64,
}

struct Slot {
    name: String,
    /// The container of this name, which changes when it is created again.
    id: Mutex<String>,
    /// Held while a process is started in it and while it is paused: runc 1.1.5 hangs for ever if its container freezes
    /// while it starts one there, and dockerd with it.
    freezing: tokio::sync::Mutex<()>,
}

impl Churn {
    /// Makes the containers, of which some run.
    pub(crate) async fn prepare(docker: &Driver, name: &str, count: usize, seed: u64) -> Result<Churn> {
        let names: Vec<String> = (0..count).map(|number| format!("{name}-{number}")).collect();
        let ids = docker.run_all(names.iter().map(|name| plan(name))).await?;
        let slots = names
            .into_iter()
            .zip(ids)
            .map(|(name, id)| Slot { name, id: Mutex::new(id), freezing: Default::default() })
            .collect();
        let brief = Mutex::default();
        Ok(Churn { slots, brief, transitions: watch::Sender::new(0), refused: AtomicUsize::new(0), seed })
    }

    /// Begins so many watches during a churn, each after so many more transitions. Returns them when all are ready and the
    /// containers are quiet.
    pub(crate) async fn join<F: Fixture<Driver = Driver>>(
        &self,
        fixture: &F,
        (watchers, apart): (usize, usize),
    ) -> Result<Vec<Watched<F::Client>>> {
        let docker = fixture.driver().await?;
        let over = AtomicBool::new(false);
        let is_over = || over.load(Ordering::Relaxed);
        let joining = async {
            let mut all = Vec::new();
            for number in 0..watchers {
                // While another transition is in flight.
                self.until_transitions(number * apart).await;
                all.push(fixture.begin_watch(settings())?);
            }
            try_join_all(all.iter().map(|watched| watched.ready())).await?;
            anyhow::Ok(all)
        };
        let joining = async {
            let all = joining.await;
            over.store(true, Ordering::Relaxed);
            all
        };
        let (_, _, all) = tokio::join!(self.run(&docker, 1, is_over), self.run(&docker, 2, is_over), joining);
        self.until_quiet(&docker).await?;
        fixture.figure(format!("{watchers} watchers came during {} transitions", self.transitions()));
        all
    }

    /// How many transitions were asked for and done.
    pub(crate) fn transitions(&self) -> usize {
        *self.transitions.borrow()
    }

    /// How many were refused, for a container that is paused cannot be paused, and so on.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Those that there are now.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.slots.iter().map(|slot| locked(&slot.id).clone()).collect()
    }

    pub(crate) async fn until_transitions(&self, count: usize) {
        // The sender is here: it cannot fail.
        let _ = self.transitions.subscribe().wait_for(|done| *done >= count).await;
    }

    /// Does one thing after the other, as the one called `who`, until it is over.
    pub(crate) async fn run(&self, docker: &Driver, who: u64, mut is_over: impl FnMut() -> bool) {
        let mut random = Rng::with_seed(self.seed.wrapping_mul(1000).wrapping_add(who));
        while !is_over() {
            match self.step(docker, &mut random).await {
                Ok(()) => self.transitions.send_modify(|done| *done += 1),
                Err(error) => {
                    tracing::trace!(%error, "refused");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    // An engine that is away refuses at once, over and over.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Waits until those that end by themselves have.
    pub(crate) async fn until_quiet(&self, docker: &Driver) -> Result<()> {
        let there = self.ids();
        let brief = {
            let mut brief = locked(&self.brief);
            brief.retain(|id| there.contains(id));
            brief.clone()
        };
        for id in brief {
            // One that is paused in its short life stays.
            let _ = docker.unpause(&id).await;
            docker.until_ended(&id).await?;
        }
        Ok(())
    }

    async fn step(&self, docker: &Driver, random: &mut Rng) -> Result<()> {
        let slot = &self.slots[random.usize(..self.slots.len())];
        let id = locked(&slot.id).clone();
        match random.u8(0..22) {
            0..5 => docker.start(&id).await,
            5..8 => docker.kill(&id, "KILL").await,
            8 => docker.stop(&id, 0).await,
            9..12 => {
                let _freezing = slot.freezing.lock().await;
                docker.pause(&id).await
            }
            12..15 => docker.unpause(&id).await,
            15 => docker.restart(&id, 0).await,
            16..18 => docker.rename(&id, &format!("{}-{}", slot.name, random.u16(..))).await,
            18..20 => {
                let _freezing = slot.freezing.lock().await;
                docker.exec_detached(&id, "true").await
            }
            _ => {
                docker.remove(&id).await?;
                let is_brief = random.u8(0..3) == 0;
                let plan = plan(&format!("{}-{}", slot.name, random.u16(..)));
                let id = docker.create(if is_brief { plan.running("exit 1") } else { plan }).await?;
                if is_brief {
                    locked(&self.brief).push(id.clone());
                }
                locked(&slot.id).clone_from(&id);
                docker.start(&id).await?;
                Ok(())
            }
        }
    }
}

fn plan(name: &str) -> Plan {
    Plan::named(name).in_project("churn")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
