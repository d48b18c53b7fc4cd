//! Hosts without an agent: since when they are silent, and forgetting those that do not come back.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use whalewatcher_core::Container;

use super::engine::MirroredEngine;
use super::host::MirroredHost;
use super::{Effect, EngineName, Mirror, system_time};

impl MirroredHost {
    /// Returns the newest time in what was published, by the host's clocks.
    pub(crate) fn last_word(&self) -> Option<SystemTime> {
        let claim = self.claim.as_ref().and_then(|claimed| claimed.claim.as_ref());
        let about = self.about.as_ref().and_then(|about| about.value.as_ref());
        let mut times = Vec::new();
        times.extend(claim.map(|claim| system_time(claim.since)));
        times.extend(about.and_then(|about| about.time).map(system_time));
        for engine in self.engines.values() {
            times.extend(engine.known.as_ref().map(|record| system_time(record.since)));
            let exits = engine.exits.values().filter_map(|exit| exit.value.as_ref());
            times.extend(exits.map(|exit| system_time(exit.time)));
            let containers = engine.containers.values().filter_map(|it| it.value.as_ref().ok());
            times.extend(containers.filter_map(Container::started_at));
        }
        times.into_iter().max()
    }

    /// Returns whether an engine is one of the fleet.
    pub(crate) fn publishes(&self, engine: &MirroredEngine) -> bool {
        !self.is_forgotten && engine.is_published()
    }

    /// Forgets a host that has been silent for so long: its engines leave until it has an agent again. Of a
    /// host without any time nothing is known.
    fn forget_if_silent(
        &mut self,
        id: &Arc<str>,
        after: Duration,
        now: SystemTime,
        effects: &mut Vec<Effect>,
    ) {
        if self.claim.is_some() || self.is_forgotten {
            return;
        }
        let silent =
            self.last_word().max(self.unclaimed_since).and_then(|since| now.duration_since(since).ok());
        if silent.is_some_and(|silent| silent > after) {
            let published = self.engines.iter().filter(|(_, engine)| engine.is_published());
            effects.extend(published.map(|(name, _)| Effect::Left(EngineName::new(id, name))));
            self.is_forgotten = true;
        }
    }
}

impl Mirror {
    /// Forgets the hosts that have been silent for longer than this.
    pub(crate) fn forget_silent(&mut self, after: Duration, now: SystemTime) {
        for (id, host) in &mut self.hosts {
            host.forget_if_silent(id, after, now, &mut self.effects);
        }
    }
}
