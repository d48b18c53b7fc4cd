//! Things that are done to containers at random, by several at once, and what is known of the lives that came of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::lives::Lives;
use crate::recorder::LIMIT;

/// What can be done to the containers of an engine.
pub(crate) trait Steps {
    /// What one thing at a time is done to.
    type Slot;

    /// Does something. It may be refused, for what is asked for is not always possible.
    async fn step(&self, slot: &mut Self::Slot, random: &mut Rng, lives: &Mutex<Lives>) -> Result<()>;

    /// Sees to it that nothing happens any more by itself.
    async fn settle(&self, slot: &mut Self::Slot, lives: &Mutex<Lives>) -> Result<()>;
}

/// Several may do steps at once.
pub(crate) struct RandomSteps<S: Steps> {
    steps: S,
    seed: u64,
    slots: Vec<tokio::sync::Mutex<S::Slot>>,
    lives: Mutex<Lives>,
    transitions: watch::Sender<usize>,
    refused: AtomicUsize,
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
            slots: slots.into_iter().map(tokio::sync::Mutex::new).collect(),
            lives: Mutex::new(lives),
            transitions: watch::Sender::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// How many transitions were asked for and done.
    pub(crate) fn transitions(&self) -> usize {
        *self.transitions.borrow()
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// All lives that there ever were.
    pub(crate) fn lives(&self) -> MutexGuard<'_, Lives> {
        locked(&self.lives)
    }

    pub(crate) async fn until_transitions(&self, count: usize) {
        // The sender is here: it cannot fail.
        let _ = self.transitions.subscribe().wait_for(|done| *done >= count).await;
    }

    /// Does one thing after the other, as the one called `who`, until it is over.
    pub(crate) async fn run(&self, who: u64, mut is_over: impl FnMut() -> bool) {
        let mut random = Rng::with_seed(self.seed.wrapping_mul(1000).wrapping_add(who));
        while !is_over() {
            let mut slot = self.slots[random.usize(..self.slots.len())].lock().await;
            match timeout(LIMIT, self.steps.step(&mut slot, &mut random, &self.lives)).await {
                Ok(Ok(())) => self.transitions.send_modify(|done| *done += 1),
                outcome => {
                    tracing::debug!(?outcome, "refused");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Sees to it that nothing happens any more by itself, for it would do so just when everything is compared.
    pub(crate) async fn settle(&self) -> Result<()> {
        for slot in &self.slots {
            self.steps.settle(&mut *slot.lock().await, &self.lives).await?;
        }
        Ok(())
    }
}

pub(crate) fn locked(lives: &Mutex<Lives>) -> MutexGuard<'_, Lives> {
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}
