//! The lives that have ended, as many as fit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::settings::HistorySettings;
use crate::model::{
    COMPOSE_PROJECT_LABEL, Container, EngineKey, Labels, Life, POD_NAME_LABEL, POD_NAMESPACE_LABEL,
    POD_UID_LABEL, SeenBy,
};

/// A container that takes more than this part of all bytes is kept without most of its labels, so that one
/// with huge labels leaves room for others.
const SHARE: usize = 64;

/// A life that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastLife {
    pub(super) number: u64,
    pub(super) key: EngineKey,
    pub(super) container: Arc<Container>,
    pub(super) began: Began,
    pub(super) ended_at: SystemTime,
    pub(super) code: Option<i32>,
    pub(super) is_certain: bool,
    pub(super) seen_by: SeenBy,
}

/// What is known of the beginning of a life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Began {
    /// When, if it is known.
    pub(super) at: Option<SystemTime>,
    /// It was running when the engine's watch came in sync.
    pub(super) was_found: bool,
}

impl PastLife {
    /// Returns endpoint and type of the engine that reported its end.
    #[must_use]
    pub fn key(&self) -> &EngineKey {
        &self.key
    }

    /// Returns the container as last known, without rucksack. If it was very large, most of its labels are missing.
    #[must_use]
    pub fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// Returns when it began: as the engine reports it, else when its start was seen. `None` if its start was
    /// not seen either.
    #[must_use]
    pub fn started_at(&self) -> Option<SystemTime> {
        self.began.at
    }

    /// Returns whether it was running already when the engine's watch came in sync, so that its start was not seen.
    #[must_use]
    pub fn was_found(&self) -> bool {
        self.began.was_found
    }

    /// Returns when it ended, by the engine's clock where the engine reports it.
    #[must_use]
    pub fn ended_at(&self) -> SystemTime {
        self.ended_at
    }

    /// Returns the exit code of its initial process, where the engine reports it.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.code
    }

    /// Returns whether the kernel killed one of its processes for lack of memory.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        self.container.oom_killed()
    }

    /// Returns whether its end was reported. Else it is known only that it was over at
    /// [`ended_at`](Self::ended_at): it ended during an outage, or among events that were missed. Or it has
    /// not ended at all and its engine has left the fleet.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Returns what reported its end first.
    #[must_use]
    pub fn seen_by(&self) -> SeenBy {
        self.seen_by
    }

    fn is(&self, key: &EngineKey, life: &Life) -> bool {
        self.key == *key && self.container.life() == *life
    }

    fn size(&self) -> usize {
        self.container.size() + size_of::<Self>()
    }
}

/// The lives that have ended, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Past {
    lives: VecDeque<PastLife>,
    bytes: usize,
    /// How many of them are not certain.
    uncertain: usize,
}

impl Past {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &PastLife> + ExactSizeIterator {
        self.lives.iter()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a life and drops the oldest ones that do not fit any more.
    pub(super) fn push(&mut self, mut life: PastLife, settings: &HistorySettings) {
        life.container = slim(&life.container, settings.bytes() / SHARE);
        self.bytes += life.size();
        self.uncertain += usize::from(!life.is_certain);
        self.lives.push_back(life);
        while self.lives.len() > settings.lives() || self.bytes > settings.bytes() {
            self.remove(0);
        }
    }

    /// Removes and returns the entry of a life that may go on.
    pub(super) fn take_uncertain(&mut self, key: &EngineKey, life: &Life) -> Option<PastLife> {
        if self.uncertain == 0 {
            return None;
        }
        let at = self.lives.iter().rposition(|past| !past.is_certain && past.is(key, life))?;
        self.remove(at)
    }

    /// Returns the entry of a life.
    pub(super) fn find(&mut self, key: &EngineKey, life: &Life) -> Option<&PastLife> {
        self.lives.iter().rfind(|past| past.is(key, life))
    }

    /// Marks the life with this number as one whose end is not known, and returns it.
    pub(super) fn doubt(&mut self, number: u64) -> Option<&PastLife> {
        let at = self.lives.binary_search_by_key(&number, |past| past.number).ok()?;
        let life = &mut self.lives[at];
        self.uncertain += usize::from(std::mem::take(&mut life.is_certain));
        Some(life)
    }

    fn remove(&mut self, at: usize) -> Option<PastLife> {
        let life = self.lives.remove(at)?;
        self.bytes -= life.size();
        self.uncertain -= usize::from(!life.is_certain);
        Some(life)
    }
}

/// Returns the container without rucksack; if it takes more than `limit` bytes, with only those labels that
/// name project and pod, and without networks and ports.
pub(super) fn slim(container: &Arc<Container>, limit: usize) -> Arc<Container> {
    const KEPT: [&str; 3] = [POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL];
    let is_large = container.size() > limit;
    if !is_large && !container.has_rucksack() {
        return container.clone();
    }
    let mut slim = Container::clone(container).with_rucksack(None);
    if is_large {
        let all = container.labels();
        let pod = KEPT.iter().filter_map(|key| Some((*key, all.get(key)?)));
        let project = Some((COMPOSE_PROJECT_LABEL, container.project())).filter(|(_, name)| !name.is_empty());
        slim = slim.with_labels(Labels::from_iter(pod.chain(project))).with_networks([]).with_ports([]);
    }
    Arc::new(slim)
}
