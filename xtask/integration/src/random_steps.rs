//! Things that are done to containers at random, by several at once, and what is known of the lives that came of them.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::fixture::{Fixture, locked};
use crate::lives::Lives;
use crate::recorder::LIMIT;

/// Names the seed of a run that is to be repeated; what the engine makes of it differs all the same.
const SEED: &str = "WHALEWATCHER_SEED";

/// Returns the seed of a run: a new one, unless the environment names it. It is printed, so that the run can
/// be repeated.
pub(crate) fn seed(fixture: &impl Fixture) -> Result<u64> {
    seed_noted(|line| fixture.figure(line))
}

/// The same, with what prints it.
pub(crate) fn seed_noted(note: impl FnOnce(String)) -> Result<u64> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED} is no number"))?,
        Err(_) => fastrand::u64(..1_000_000),
    };
    note(format!("{SEED}={seed}"));
    Ok(seed)
}

/// What can be done to the containers of an engine.
pub(crate) trait Steps {
    /// What things are done to, by several at once unless it is locked.
    type Slot;

    /// Does something. It may be refused, for what is asked for is not always possible.
    async fn step(&self, slot: &Self::Slot, random: &mut Rng, lives: &Mutex<Lives>) -> Result<()>;

    /// Sees to it that nothing happens any more by itself.
    async fn settle(&self, slot: &Self::Slot, lives: &Mutex<Lives>) -> Result<()>;
}

/// Several may do steps at once.
pub(crate) struct RandomSteps<S: Steps> {
    steps: S,
    seed: u64,
    slots: Vec<S::Slot>,
    lives: Mutex<Lives>,
    transitions: watch::Sender<usize>,
    refused: AtomicUsize,
    /// How many have done steps.
    workers: AtomicU64,
}

impl<S: Steps> RandomSteps<S> {
    /// Nothing was done yet.
    pub(crate) fn new(
        steps: S,
        slots: impl IntoIterator<Item = S::Slot>,
        lives: Lives,
        seed: u64,
    ) -> RandomSteps<S> {
        RandomSteps {
            steps,
            seed,
            slots: slots.into_iter().collect(),
            lives: Mutex::new(lives),
            transitions: watch::Sender::new(0),
            refused: AtomicUsize::new(0),
            workers: AtomicU64::new(0),
        }
    }

    /// How many transitions were asked for and done.
    pub(crate) fn transitions(&self) -> usize {
        *self.transitions.borrow()
    }

    /// How many were refused, for a container that is paused cannot be paused, and so on.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn slots(&self) -> &[S::Slot] {
        &self.slots
    }

    /// All lives that there ever were.
    pub(crate) fn lives(&self) -> MutexGuard<'_, Lives> {
        locked(&self.lives)
    }

    pub(crate) async fn until_transitions(&self, count: usize) {
        // The sender is here: it cannot fail.
        let _ = self.transitions.subscribe().wait_for(|done| *done >= count).await;
    }

    /// Lets so many do one thing after the other until a task is done, and returns what that returns.
    pub(crate) async fn during<T>(&self, workers: usize, task: impl Future<Output = T>) -> T {
        let is_over = Cell::new(false);
        let task = async {
            let outcome = task.await;
            is_over.set(true);
            outcome
        };
        tokio::join!(task, join_all((0..workers).map(|_| self.run(|| is_over.get())))).0
    }

    async fn run(&self, is_over: impl Fn() -> bool) {
        let worker = self.workers.fetch_add(1, Ordering::Relaxed);
        let mut random = Rng::with_seed(self.seed.wrapping_mul(1000).wrapping_add(worker));
        while !is_over() {
            let slot = &self.slots[random.usize(..self.slots.len())];
            match timeout(LIMIT, self.steps.step(slot, &mut random, &self.lives)).await {
                Ok(Ok(())) => self.transitions.send_modify(|done| *done += 1),
                outcome => {
                    tracing::debug!(?outcome, "refused");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    // An engine that is away refuses at once, over and over.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Sees to it that nothing happens any more by itself, for it would do so just when everything is compared.
    pub(crate) async fn settle(&self) -> Result<()> {
        for slot in &self.slots {
            self.steps.settle(slot, &self.lives).await?;
        }
        Ok(())
    }
}
