//! Random transitions of containers in three namespaces.

use std::sync::Mutex;

use anyhow::Result;
use fastrand::Rng;

use crate::fixture::locked;
use crate::lives::Lives;
use crate::random_steps::{RandomSteps, Steps};
use whalewatcher_drivers::containerd::{Driver, Plan};

const KEYS: [&str; 9] = ["a", "b", "c", "shop/a", "shop/b", "shop/c", "staging/a", "staging/b", "staging/c"];

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

/// Nothing is there yet. One thing at a time is done to each: a pause amid the start of an exec freezes both,
/// and the shim of containerd 1.6 with them, for good.
pub(super) fn churn(driver: Driver, seed: u64) -> RandomSteps<Churn> {
    let slot = |key| tokio::sync::Mutex::new(Slot { key, pid: 0, is_brief: false, is_ending: false });
    let slots = KEYS.map(slot);
    RandomSteps::new(Churn { driver }, slots, Lives::by_pid(), seed)
}

/// What can be done to containers.
pub(crate) struct Churn {
    driver: Driver,
}

/// A container.
pub(crate) struct Slot {
    key: &'static str,
    /// The PID of its last task.
    pid: u32,
    /// Its tasks end by themselves at once.
    is_brief: bool,
    /// Its task may end without anything more being done.
    is_ending: bool,
}

impl Steps for Churn {
    type Slot = tokio::sync::Mutex<Slot>;

    async fn step(&self, slot: &Self::Slot, random: &mut Rng, lives: &Mutex<Lives>) -> Result<()> {
        let slot = &mut *slot.lock().await;
        let (driver, key) = (&self.driver, slot.key);
        match random.u8(0..24) {
            0..7 => {
                let plan = Plan::of(key).labelled("tier", &random.u16(..).to_string());
                let plan = if random.bool() { plan.in_project("churn") } else { plan };
                let is_brief = random.u8(0..4) == 0;
                driver.create(&if is_brief { plan.running("exit 1") } else { plan }).await?;
                slot.is_brief = is_brief;
                self.start(slot, lives).await
            }
            7 => self.start(slot, lives).await,
            signal @ 8..11 => {
                locked(lives).may_end(key, slot.pid);
                slot.is_ending = true;
                driver.kill(key, if signal == 8 { SIGTERM } else { SIGKILL }).await
            }
            11..14 => driver.pause(key).await,
            14..17 => driver.resume(key).await,
            17 => driver.delete_task(key).await,
            18 => driver.label(key, "nerdctl/name", &format!("renamed-{}", random.u16(..))).await,
            19 => driver.label(key, "tier", &random.u16(..).to_string()).await,
            20..22 => driver.exec(key, &format!("exec-{}", random.u32(..)), "exit 1").await.map(drop),
            _ => self.remove(slot, lives).await,
        }
    }

    /// Removes what is ending.
    async fn settle(&self, slot: &Self::Slot, lives: &Mutex<Lives>) -> Result<()> {
        let slot = &mut *slot.lock().await;
        if slot.is_ending {
            self.remove(slot, lives).await?;
        }
        Ok(())
    }
}

impl Churn {
    async fn start(&self, slot: &mut Slot, lives: &Mutex<Lives>) -> Result<()> {
        let pid = self.driver.create_task(slot.key).await?;
        locked(lives).begin(slot.key, pid, slot.is_brief);
        (slot.pid, slot.is_ending) = (pid, slot.is_brief);
        let started = self.driver.start_task(slot.key).await.map(drop);
        if started.is_err() {
            locked(lives).strike_out(slot.key, pid);
        }
        started
    }

    async fn remove(&self, slot: &mut Slot, lives: &Mutex<Lives>) -> Result<()> {
        locked(lives).may_end(slot.key, slot.pid);
        slot.is_ending = true;
        self.driver.remove(slot.key).await?;
        slot.is_ending = false;
        Ok(())
    }
}
