//! Random transitions of pods.

use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;

use crate::fixture::locked;
use crate::lives::Lives;
use crate::random_steps::{RandomSteps, Steps};
use whalewatcher_drivers::cri::Driver;
use whalewatcher_drivers::cri::{ContainerPlan, Pod, PodPlan};

const PODS: usize = 6;

/// The containers of a pod.
const NAMES: [&str; 3] = ["server", "sidecar", "job"];

/// Nothing is there yet. One thing at a time is done to each pod, as a kubelet does.
pub(super) fn churn(driver: Driver, seed: u64) -> RandomSteps<Churn> {
    let slot = |number| tokio::sync::Mutex::new(Slot { number, ..Slot::default() });
    let slots = (0..PODS).map(slot);
    RandomSteps::new(Churn { driver }, slots, Lives::by_id(), seed)
}

/// What can be done to pods.
pub(crate) struct Churn {
    driver: Driver,
}

/// A place for a pod.
#[derive(Default)]
pub(crate) struct Slot {
    number: usize,
    /// How many pods and containers there were, for no two may have the same name and attempt.
    attempts: u32,
    pod: Option<Pod>,
    containers: Vec<Member>,
}

/// A container of a pod.
struct Member {
    id: String,
    /// It ends by itself at once.
    is_brief: bool,
}

impl Steps for Churn {
    type Slot = tokio::sync::Mutex<Slot>;

    async fn step(&self, slot: &Self::Slot, random: &mut Rng, lives: &Mutex<Lives>) -> Result<()> {
        let slot = &mut *slot.lock().await;
        let Some(pod) = slot.pod.clone() else { return self.run_pod(slot, lives).await };
        let count = slot.containers.len();
        let one = if count == 0 { 0 } else { random.usize(..count) };
        match (random.u8(0..20), count) {
            (0..2, _) => self.remove_pod(slot, &pod, lives).await,
            (2, _) => self.stop_pod(slot, &pod, lives).await,
            (_, 0) | (3..9, ..4) => self.run_container(slot, &pod, random, lives).await,
            (9..13, _) => {
                let id = &slot.containers[one].id;
                locked(lives).may_end(id, 0);
                self.driver.stop(id).await
            }
            (13..16, _) => {
                let member = slot.containers.swap_remove(one);
                locked(lives).may_end(&member.id, 0);
                self.driver.remove(&member.id).await
            }
            _ => {
                let (code, _) = self.driver.exec(&slot.containers[one].id, "exit 5").await?;
                ensure!(code == 5, "an exec ended with {code}");
                Ok(())
            }
        }
    }

    /// Waits until what ends by itself has done so.
    async fn settle(&self, slot: &Self::Slot, _lives: &Mutex<Lives>) -> Result<()> {
        for member in slot.lock().await.containers.iter().filter(|member| member.is_brief) {
            // If the engine was killed while it removed a pod, some may be gone.
            if self.driver.container(&member.id).await?.is_some() {
                self.driver.ended(&member.id).await?;
            }
        }
        Ok(())
    }
}

impl Churn {
    async fn run_pod(&self, slot: &mut Slot, lives: &Mutex<Lives>) -> Result<()> {
        slot.attempts += 1;
        let plan = PodPlan::named(format!("churned-{}-{}", slot.number, slot.attempts)).within("churn");
        let start = SystemTime::now();
        let pod = self.driver.run_pod(&plan).await?;
        locked(lives).began(&pod.id, 0, start, false);
        slot.pod = Some(pod);
        Ok(())
    }

    async fn run_container(
        &self,
        slot: &mut Slot,
        pod: &Pod,
        random: &mut Rng,
        lives: &Mutex<Lives>,
    ) -> Result<()> {
        slot.attempts += 1;
        let name = NAMES[random.usize(..NAMES.len())];
        let plan =
            ContainerPlan::named(name).attempt(slot.attempts).labelled("tier", &random.u16(..).to_string());
        let is_brief = random.u8(0..4) == 0;
        let plan = if is_brief { plan.running("exit 1") } else { plan };
        let id = self.driver.create(pod, &plan).await?;
        locked(lives).begin(&id, 0, is_brief);
        if let Err(error) = self.driver.start(&id).await {
            locked(lives).strike_out(&id, 0);
            return Err(error);
        }
        slot.containers.push(Member { id, is_brief });
        Ok(())
    }

    async fn stop_pod(&self, slot: &mut Slot, pod: &Pod, lives: &Mutex<Lives>) -> Result<()> {
        all_may_end(slot, pod, lives);
        self.driver.stop_pod(&pod.id).await
    }

    async fn remove_pod(&self, slot: &mut Slot, pod: &Pod, lives: &Mutex<Lives>) -> Result<()> {
        all_may_end(slot, pod, lives);
        self.driver.remove_pod(&pod.id).await.context("a pod cannot be removed")?;
        slot.pod = None;
        slot.containers.clear();
        Ok(())
    }
}

fn all_may_end(slot: &Slot, pod: &Pod, lives: &Mutex<Lives>) {
    let mut lives = locked(lives);
    for id in slot.containers.iter().map(|member| &member.id).chain([&pod.id]) {
        lives.may_end(id, 0);
    }
}
