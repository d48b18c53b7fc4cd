//! Containers in three namespaces that somebody does things to at random.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::timeout;

use super::driver::{Driver, Plan};
use super::lives::Lives;
use crate::recorder::LIMIT;

const KEYS: [&str; 9] = ["a", "b", "c", "shop/a", "shop/b", "shop/c", "staging/a", "staging/b", "staging/c"];

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

/// The same containers may be churned by several at once.
pub(super) struct Churn {
    driver: Driver,
    seed: u64,
    /// One thing at a time to each: a pause amid the start of an exec freezes both, and the shim of containerd 1.6 with
    /// them, for good.
    slots: [tokio::sync::Mutex<Slot>; KEYS.len()],
    lives: Mutex<Lives>,
    transitions: watch::Sender<usize>,
    refused: AtomicUsize,
}

struct Slot {
    key: &'static str,
    /// The PID of its last task.
    pid: u32,
    /// Its tasks end by themselves at once.
    is_brief: bool,
    /// Its task may end without anything more being done.
    is_ending: bool,
}

impl Churn {
    /// Nothing is there yet.
    pub(super) fn new(driver: Driver, seed: u64) -> Churn {
        let slots = KEYS.map(|key| Slot { key, pid: 0, is_brief: false, is_ending: false });
        let (slots, transitions) = (slots.map(tokio::sync::Mutex::new), watch::Sender::new(0));
        Churn { driver, seed, slots, lives: Mutex::default(), transitions, refused: AtomicUsize::new(0) }
    }

    /// How many transitions were asked for and done.
    pub(super) fn transitions(&self) -> usize {
        *self.transitions.borrow()
    }

    /// How many were refused, for what is asked for is not always possible.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// All lives that there ever were.
    pub(super) fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn until_transitions(&self, count: usize) {
        // The sender is here: it cannot fail.
        let _ = self.transitions.subscribe().wait_for(|done| *done >= count).await;
    }

    /// Does one thing after the other, as the one called `who`, until it is over.
    pub(super) async fn run(&self, who: u64, mut is_over: impl FnMut() -> bool) {
        let mut random = Rng::with_seed(self.seed.wrapping_mul(1000).wrapping_add(who));
        while !is_over() {
            let mut slot = self.slots[random.usize(..self.slots.len())].lock().await;
            match timeout(LIMIT, self.step(&mut slot, &mut random)).await {
                Ok(Ok(())) => self.transitions.send_modify(|done| *done += 1),
                outcome => {
                    tracing::trace!(?outcome, "refused");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Removes those that are ending, for they would do so just when everything is compared.
    pub(super) async fn settle(&self) -> Result<()> {
        for slot in &self.slots {
            let mut slot = slot.lock().await;
            if slot.is_ending {
                self.remove(&mut slot).await?;
            }
        }
        Ok(())
    }

    async fn step(&self, slot: &mut Slot, random: &mut Rng) -> Result<()> {
        let (driver, key) = (&self.driver, slot.key);
        match random.u8(0..24) {
            0..7 => {
                let plan = Plan::of(key).labelled("tier", &random.u16(..).to_string());
                let plan = if random.bool() { plan.in_project("churn") } else { plan };
                let is_brief = random.u8(0..4) == 0;
                driver.create(&if is_brief { plan.running("exit 1") } else { plan }).await?;
                slot.is_brief = is_brief;
                self.start(slot).await
            }
            7 => self.start(slot).await,
            signal @ 8..11 => {
                self.lives().may_end(key, slot.pid);
                slot.is_ending = true;
                driver.kill(key, if signal == 8 { SIGTERM } else { SIGKILL }).await
            }
            11..14 => driver.pause(key).await,
            14..17 => driver.resume(key).await,
            17 => driver.delete_task(key).await,
            18 => driver.label(key, "nerdctl/name", &format!("renamed-{}", random.u16(..))).await,
            19 => driver.label(key, "tier", &random.u16(..).to_string()).await,
            20..22 => driver.exec(key, &format!("exec-{}", random.u32(..)), "exit 1").await.map(drop),
            _ => self.remove(slot).await,
        }
    }

    async fn start(&self, slot: &mut Slot) -> Result<()> {
        let pid = self.driver.create_task(slot.key).await?;
        self.lives().begin(slot.key, pid, slot.is_brief);
        (slot.pid, slot.is_ending) = (pid, slot.is_brief);
        let started = self.driver.start_task(slot.key).await.map(drop);
        if started.is_err() {
            self.lives().strike_out(slot.key, pid);
        }
        started
    }

    async fn remove(&self, slot: &mut Slot) -> Result<()> {
        self.lives().may_end(slot.key, slot.pid);
        slot.is_ending = true;
        self.driver.remove(slot.key).await?;
        slot.is_ending = false;
        Ok(())
    }
}
