//! Merges the events of the members into those of the fleet. Without I/O: whatever calls it publishes the result.

use std::collections::{BTreeMap, VecDeque};
use std::mem::replace;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::event::FleetEvent;
use super::member::FleetMember;
use super::portfolio::FleetPortfolio;
use super::source::{Ended, Source};
use crate::model::{EngineError, EngineIdentity, EngineKey, Event, EventKind};
use crate::portfolio::{Portfolio, difference};
use crate::watch::Watcher;

/// The fleet's portfolio, and the events that led to it since they were last taken.
#[derive(Default)]
pub(super) struct Merge {
    pub(super) portfolio: FleetPortfolio,
    pub(super) events: Vec<FleetEvent>,
    pub(super) sources: BTreeMap<EngineKey, Source>,
    /// The newest first.
    pub(super) ended: VecDeque<Ended>,
    /// What was replaced. The caller drops it, because that may run code of the application.
    pub(super) spent: Vec<Portfolio>,
    pub(super) spent_events: Vec<Event>,
}

impl Merge {
    /// Adds a member, which may have been watched before: with its portfolio, and with the newest event about
    /// its watch.
    pub(super) fn join(
        &mut self,
        key: &EngineKey,
        watcher: &Arc<dyn Watcher>,
        engine: Option<&Arc<EngineIdentity>>,
        now: &Portfolio,
        about_watch: Option<EventKind>,
    ) {
        self.sources.insert(key.clone(), Source::new(&**watcher));
        let time = SystemTime::now();
        let event = |kind| Event::new(time, kind).with_engine(engine.cloned());
        let joined = FleetEvent {
            revision: self.portfolio.revision() + 1,
            key: key.clone(),
            watcher: watcher.clone(),
            event: event(EventKind::Joined),
        };
        self.portfolio.apply(&joined);
        self.events.push(joined);
        let alive = difference(&Portfolio::default(), now);
        self.handle(key, alive.into_iter().chain(about_watch).map(event).collect(), now);
    }

    /// Adds events of a member, after which its portfolio is `now`.
    pub(super) fn handle(&mut self, key: &EngineKey, events: Vec<Event>, now: &Portfolio) {
        let is_sharing = self.is_sharing(key);
        for event in events {
            self.handle_one(key, event, is_sharing);
        }
        if let Some(source) = self.sources.get_mut(key) {
            self.spent.push(replace(&mut source.own, now.clone()));
        }
        self.settle(key);
    }

    fn handle_one(&mut self, key: &EngineKey, mut event: Event, is_sharing: bool) {
        let Some(source) = self.sources.get_mut(key) else { return };
        if is_sharing && event.container().is_some() {
            let before = source.own.clone();
            source.own.apply(&event.kind);
            self.spent.push(before);
        }
        match event.kind.clone() {
            EventKind::Started(container) if is_sharing => self.started(key, &container, event),
            EventKind::Exited { container, .. } if is_sharing => self.exited(key, &container, event),
            EventKind::Synced { unresolved, .. } => {
                source.is_live = true;
                let containers = self.portfolio.member(key).map_or(0, |member| member.portfolio().total());
                event.kind = EventKind::Synced { containers, unresolved };
                self.publish(key, event);
            }
            EventKind::Disconnected { .. } => {
                source.is_live = false;
                self.publish(key, event);
                self.reveal_unclaimed();
            }
            kind => match kind.container().is_some_and(|known| source.hidden.contains_key(known.id())) {
                true => self.spent_events.push(event),
                false => self.publish(key, event),
            },
        }
    }

    /// Removes a member: its containers move to others that know them, or are announced as exited.
    pub(super) fn leave(&mut self, key: &EngineKey) {
        let Some(member) = self.portfolio.member(key) else { return };
        let event = Event::new(SystemTime::now(), EventKind::Left).with_engine(member.engine.clone());
        self.hand_over(key);
        self.publish(key, event);
        self.sources.remove(key);
        self.reveal_unclaimed();
    }

    /// Reports that the watcher of a member was closed: its containers stay as last known.
    pub(super) fn end(&mut self, key: &EngineKey, error: Arc<EngineError>) {
        let Some(member) = self.portfolio.member(key).filter(|member| member.error().is_none()) else {
            return;
        };
        let event = Event::new(SystemTime::now(), EventKind::Disconnected { error });
        let event = event.with_engine(member.engine.clone());
        self.handle_one(key, event, false);
    }

    /// Returns when to call [`expire`](Self::expire).
    pub(super) fn deadline(&self, key: &EngineKey) -> Option<Instant> {
        self.sources.get(key).and_then(Source::deadline)
    }

    /// Adds an event of a member to those of the fleet.
    pub(super) fn publish(&mut self, key: &EngineKey, event: Event) {
        let Some(member) = self.portfolio.member(key) else { return };
        let (revision, watcher) = (self.portfolio.revision() + 1, member.watcher().clone());
        let event = FleetEvent { revision, key: key.clone(), watcher, event };
        self.portfolio.apply(&event);
        self.events.push(event);
    }

    /// Replaces the folded portfolio of a member by its own, which is equal and may have other rucksacks.
    fn settle(&mut self, key: &EngineKey) {
        let (Some(source), Some(member)) = (self.sources.get(key), self.portfolio.member(key)) else {
            return;
        };
        let shown = if source.hidden.is_empty() { source.own.clone() } else { source.repacked(member) };
        if !member.portfolio().is_same(&shown) {
            // Other rucksacks alone are a change, too.
            let revision = self.portfolio.revision() + u64::from(self.events.is_empty());
            self.portfolio.renumber(revision);
            self.spent.extend(self.portfolio.replace(key, shown));
        }
    }
}

impl Source {
    /// Returns the portfolio of a member that has hidden containers, with their newest rucksacks.
    fn repacked(&self, member: &FleetMember) -> Portfolio {
        let mut shown = member.portfolio().clone();
        if self.own.containers().next().is_some_and(|container| container.has_rucksack()) {
            for container in member.portfolio().containers() {
                let newest = self.own.by_id(container.id());
                newest
                    .filter(|newest| !Arc::ptr_eq(newest, container))
                    .inspect(|newest| shown.replace(newest));
            }
        }
        shown
    }
}
