//! Merges the events of the members into those of the fleet. Without I/O: whatever calls it publishes the result.

use std::sync::Arc;
use std::time::SystemTime;

use super::event::FleetEvent;
use super::member::FleetMember;
use super::portfolio::FleetPortfolio;
use crate::model::{EngineError, EngineIdentity, EngineKey, Event, EventKind};
use crate::portfolio::{Portfolio, difference};
use crate::watch::Watcher;

/// The fleet's portfolio, and the events that led to it since they were last taken.
#[derive(Default)]
pub(super) struct Merge {
    pub(super) portfolio: FleetPortfolio,
    pub(super) events: Vec<FleetEvent>,
    /// Portfolios that were replaced. The caller drops them, because that may run code of the application.
    pub(super) spent: Vec<Portfolio>,
}

impl Merge {
    /// Adds a member, which may have been watched before: with its portfolio, and with the newest event about its watch.
    pub(super) fn join(
        &mut self,
        key: &EngineKey,
        watcher: &Arc<dyn Watcher>,
        engine: Option<&Arc<EngineIdentity>>,
        now: &Portfolio,
        about_watch: Option<EventKind>,
    ) {
        let time = SystemTime::now();
        let alive = difference(&Portfolio::default(), now);
        for kind in [EventKind::Joined].into_iter().chain(alive).chain(about_watch) {
            self.publish(key, watcher, Event::new(time, kind).with_engine(engine.cloned()));
        }
        self.settle(key, now);
    }

    /// Adds events of a member, after which its portfolio is `now`.
    pub(super) fn handle(
        &mut self,
        key: &EngineKey,
        watcher: &Arc<dyn Watcher>,
        events: Vec<Event>,
        now: &Portfolio,
    ) {
        for event in events {
            self.publish(key, watcher, event);
        }
        self.settle(key, now);
    }

    /// Removes a member: its containers are announced as exited.
    pub(super) fn leave(&mut self, key: &EngineKey, watcher: &Arc<dyn Watcher>) {
        let Some(member) = self.portfolio.member(key) else { return };
        let (time, engine) = (SystemTime::now(), member.engine.clone());
        let exits = difference(member.portfolio(), &Portfolio::default());
        for kind in exits.into_iter().chain([EventKind::Left]) {
            self.publish(key, watcher, Event::new(time, kind).with_engine(engine.clone()));
        }
    }

    /// Reports that the watcher of a member was closed: its containers stay as last known.
    pub(super) fn end(&mut self, key: &EngineKey, watcher: &Arc<dyn Watcher>, error: Arc<EngineError>) {
        let Some(member) = self.portfolio.member(key).filter(|member| member.error().is_none()) else {
            return;
        };
        let event = Event::new(SystemTime::now(), EventKind::Disconnected { error });
        let event = event.with_engine(member.engine.clone());
        self.publish(key, watcher, event);
    }

    fn publish(&mut self, key: &EngineKey, watcher: &Arc<dyn Watcher>, event: Event) {
        let revision = self.portfolio.revision() + 1;
        let event = FleetEvent { revision, key: key.clone(), watcher: watcher.clone(), event };
        self.portfolio.apply(&event);
        self.events.push(event);
    }

    /// Replaces the folded portfolio of a member by its own, which is equal and may have other rucksacks.
    fn settle(&mut self, key: &EngineKey, now: &Portfolio) {
        let is_same = |member: &FleetMember| member.portfolio().is_same(now);
        if !self.portfolio.member(key).is_none_or(is_same) {
            // Other rucksacks alone are a change, too.
            let revision = self.portfolio.revision() + u64::from(self.events.is_empty());
            self.portfolio.renumber(revision);
            self.spent.extend(self.portfolio.replace(key, now.clone()));
        }
    }
}
