//! The lives that the witness watches, in step with the portfolio.

use std::sync::Arc;
use std::task::{Context, Poll};

use foldhash::{HashMap, HashSet};
use futures_core::future::BoxFuture;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{FuturesUnordered, Stream};

use crate::model::{Container, ContainerId, EngineIdentity, Event};
use crate::portfolio::Portfolio;
use crate::witness::{Witness, WitnessedLife};

/// The lives that the witness watches. Dropping it ends that.
pub(super) struct Witnesses {
    witness: Option<Arc<dyn Witness>>,
    watched: HashMap<ContainerId, Watched>,
    /// The containers whose life is not watched.
    unwatched: HashSet<ContainerId>,
    ends: FuturesUnordered<Abortable<BoxFuture<'static, Arc<Container>>>>,
}

struct Watched {
    container: Arc<Container>,
    life: Arc<dyn WitnessedLife>,
    end: AbortHandle,
}

impl Watched {
    fn is_of(&self, known: &Container) -> bool {
        let pids = |container: &Container| (container.pid(), container.host_pid());
        self.container.life() == known.life() && pids(&self.container) == pids(known)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end.abort();
    }
}

impl Witnesses {
    pub(super) fn new(witness: Option<&Arc<dyn Witness>>) -> Self {
        Self {
            witness: witness.cloned(),
            watched: HashMap::default(),
            unwatched: HashSet::default(),
            ends: FuturesUnordered::new(),
        }
    }

    /// Returns the containers that events change, for [`follow`](Self::follow); none without a witness.
    pub(super) fn concerned(&self, events: &[Event]) -> Vec<ContainerId> {
        let all = events.iter().filter(|_| self.witness.is_some()).filter_map(Event::container);
        all.map(|container| container.id().clone()).collect()
    }

    /// Watches a container as the portfolio has it now, or not any more.
    pub(super) fn follow(&mut self, id: &ContainerId, now: &Portfolio, engine: Option<&EngineIdentity>) {
        let Some(witness) = &self.witness else { return };
        let Some(now) = now.by_id(id) else {
            self.watched.remove(id);
            self.unwatched.remove(id);
            return;
        };
        if self.watched.get(id).is_some_and(|watched| watched.is_of(now)) {
            return;
        }
        // The former one is not watched any more, so that its end is not taken for that of this one.
        self.watched.remove(id);
        match witness.observe(now, engine) {
            Some(life) => {
                self.unwatched.remove(id);
                let (ended, container) = (life.clone().ended(), now.clone());
                let (end, registration) = AbortHandle::new_pair();
                let report = async move {
                    ended.await;
                    container
                };
                self.ends.push(Abortable::new(Box::pin(report), registration));
                self.watched.insert(id.clone(), Watched { container: now.clone(), life, end });
            }
            None => _ = self.unwatched.insert(id.clone()),
        }
    }

    /// Returns whether a life that the portfolio has certainly goes on.
    pub(super) fn goes_on(&self, known: &Container) -> bool {
        self.watched.get(known.id()).is_some_and(|watched| watched.is_of(known) && watched.life.goes_on())
    }

    /// Returns whether a life certainly goes on that is not in the portfolio.
    pub(super) fn is_alive(&self, life: &Container, engine: Option<&EngineIdentity>) -> bool {
        self.witness.as_ref().and_then(|witness| witness.observe(life, engine)).is_some()
    }

    /// How many lives are watched, and how many are not.
    pub(super) fn totals(&self) -> (usize, usize) {
        (self.watched.len(), self.unwatched.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Waits for the next end of a life that is watched; for ever if there is none.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Arc<Container>> {
        loop {
            match std::pin::Pin::new(&mut self.ends).poll_next(context) {
                Poll::Ready(Some(Ok(container))) => return Poll::Ready(container),
                // Not watched any more.
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
