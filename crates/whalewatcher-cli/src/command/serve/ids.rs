//! The IDs of what is alive, in order: those that begin with a text are found without a look at the others.

use std::collections::BTreeSet;
use std::ops::Bound;

use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio};
use whalewatcher_core::{ContainerId, EventKind};

/// The IDs of all containers; of those with a scope, such as a containerd namespace, without it too.
#[derive(Default)]
pub(super) struct Ids(BTreeSet<ContainerId>);

impl Ids {
    pub(super) fn of(now: &FleetPortfolio) -> Self {
        let mut ids = Self::default();
        now.containers().for_each(|(_, container)| ids.add(container.id()));
        ids
    }

    /// Follows a change, after which this is alive.
    pub(super) fn handle(&mut self, change: &FleetEvent, now: &FleetPortfolio) {
        match &change.event.kind {
            // Whatever the engine had, or a former one at its place.
            EventKind::Joined | EventKind::Left => *self = Self::of(now),
            EventKind::Exited { container, .. } => self.remove(container.id(), now),
            EventKind::Moved { container, was, .. } => {
                self.add(container.id());
                self.remove(was.id(), now);
            }
            _ => change.event.container().into_iter().for_each(|container| self.add(container.id())),
        }
    }

    /// Returns the IDs that begin with a text.
    pub(super) fn beginning_with(&self, text: &str) -> impl Iterator<Item = &ContainerId> {
        let range = (Bound::Included(text), Bound::Unbounded);
        self.0.range::<str, _>(range).take_while(move |id| id.starts_with(text))
    }

    fn add(&mut self, id: &ContainerId) {
        if self.0.insert(id.clone())
            && let Some((_, unscoped)) = id.rsplit_once('/')
        {
            self.0.insert(unscoped.into());
        }
    }

    /// Removes an ID, unless another container has it, or its last part.
    fn remove(&mut self, id: &ContainerId, now: &FleetPortfolio) {
        let unscoped = id.rsplit_once('/').map(|(_, unscoped)| unscoped);
        for text in std::iter::once(id.as_str()).chain(unscoped) {
            if now.by_id(text).next().is_none() && now.by_unscoped_id(text).next().is_none() {
                self.0.remove(text);
            }
        }
    }
}
