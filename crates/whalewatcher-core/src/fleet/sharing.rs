//! Containers that several engines of a host know: the fleet shows each once, by the engine of the highest layer.
//!
//! Containers are matched by their ID, without containerd's namespace: dockerd's namespace can be configured,
//! and two dockerds may use one containerd. Lives are matched by their PID.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::merge::Merge;
use super::source::{Ended, Source, is_same_life, split};
use crate::model::{Container, ContainerId, EngineKey, Event, EventKind, Layer};

/// The most lives whose end was announced by one engine and not reported by others.
const ENDED: usize = 1024;

impl Merge {
    /// Returns whether another member may know the same containers.
    pub(super) fn is_sharing(&self, key: &EngineKey) -> bool {
        self.sources.get(key).is_some_and(|source| {
            let related = |other: &Source| other.host == source.host && other.layer != source.layer;
            !source.hidden.is_empty() || self.sources.values().any(related)
        })
    }

    /// Merges the start of a life.
    pub(super) fn started(&mut self, key: &EngineKey, container: &Arc<Container>, event: Event) {
        let (scope, id) = split(container.id());
        let higher = self.related(key, |layer, own| layer > own);
        let holder = higher.iter().find(|key| self.sources.get(key).is_some_and(|source| source.holds(id)));
        if let Some(holder) = holder {
            self.sources.entry(holder.clone()).and_modify(|source| source.learn(scope));
            self.sources.entry(key.clone()).and_modify(|source| source.hide(container.id(), None));
            return self.spent_events.push(event);
        }
        if self.has_ended(key, container) {
            let over = Some(container.life());
            self.sources.entry(key.clone()).and_modify(|source| source.hide(container.id(), over));
            return self.spent_events.push(event);
        }
        let lower = self.lower(key, id);
        let is_shown_below =
            lower.iter().any(|(key, container)| !self.sources[key].hidden.contains_key(container.id()));
        if is_shown_below && container.pid() == 0 {
            // A life that was too short to be inspected: what is shown is the same, whose end follows, or a later one.
            let scopes = lower.iter().map(|(_, former)| split(former.id()).0);
            self.sources.entry(key.clone()).and_modify(|source| {
                scopes.for_each(|scope| source.learn(scope));
                source.hide(container.id(), None);
            });
            return self.spent_events.push(event);
        }
        if !is_shown_below && self.sources[key].is_live && self.claims(&higher, scope) {
            self.sources.entry(key.clone()).and_modify(|source| source.wait(container.id()));
            return self.spent_events.push(event);
        }
        let mut moved = false;
        for (below, former) in lower {
            self.sources.entry(key.clone()).and_modify(|source| source.learn(split(former.id()).0));
            let Some(source) = self.sources.get_mut(&below) else { continue };
            if let Some(hidden) = source.hidden.get_mut(former.id()) {
                hidden.until = None;
                continue;
            }
            let is_same = is_same_life(&former, container);
            let over = (!is_same).then(|| former.life());
            source.hide(former.id(), over);
            if is_same {
                moved = true;
                self.publish_moved(key, container, &former, &below);
            } else {
                self.publish_now(&below, EventKind::Exited { container: former, code: None });
            }
        }
        if moved {
            self.spent_events.push(event);
        } else {
            self.publish(key, event);
        }
    }

    /// Merges the end of a life, after which the member does not hold the container.
    pub(super) fn exited(&mut self, key: &EngineKey, container: &Arc<Container>, event: Event) {
        let source = self.sources.get_mut(key);
        let hidden = source.and_then(|source| source.hidden.remove(container.id()));
        // The engine did not report that: another one took over its endpoint.
        let is_over = !self.is_of_former_engine(key, &event);
        let is_shown = hidden.is_none();
        let (moved, revealed) = self.let_go(key, container, is_shown, is_over);
        if is_shown && !moved {
            if is_over && self.lower(key, split(container.id()).1).is_empty() {
                self.ended.truncate(ENDED - 1);
                self.ended.push_front(Ended {
                    by: key.clone(),
                    id: container.id().clone(),
                    pid: container.pid(),
                });
            }
            self.publish(key, event);
        } else {
            self.spent_events.push(event);
        }
        self.reveal_all(revealed);
    }

    /// Returns, once for each, whether the end of a life was announced already, by another engine that knew it.
    fn has_ended(&mut self, key: &EngineKey, container: &Container) -> bool {
        let others = self.related(key, |layer, own| layer != own);
        let id = split(container.id()).1;
        let is_it = |ended: &Ended| {
            let is_same = ended.pid == container.pid() || container.pid() == 0;
            is_same && split(&ended.id).1 == id && others.contains(&ended.by)
        };
        self.ended.iter().position(is_it).and_then(|at| self.ended.remove(at)).is_some()
    }

    /// Hands the containers of a member that leaves to others, or announces them as exited.
    pub(super) fn hand_over(&mut self, key: &EngineKey) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.is_live = false;
        let (own, hidden) = (std::mem::take(&mut source.own), std::mem::take(&mut source.hidden));
        for container in own.containers() {
            let hidden = hidden.get(container.id());
            let is_shown = hidden.is_none();
            let is_over = hidden.is_some_and(|hidden| hidden.over == Some(container.life()));
            let (moved, revealed) = self.let_go(key, container, is_shown, is_over);
            if is_shown && !moved {
                self.publish_now(key, EventKind::Exited { container: container.clone(), code: None });
            }
            self.reveal_all(revealed);
        }
        self.spent.push(own);
    }

    /// Decides about the same container in lower engines, which a member does not hold any more. If its life
    /// is not over, it moves to one of them. Returns whether it did, and the containers that are other lives.
    fn let_go(
        &mut self,
        key: &EngineKey,
        container: &Arc<Container>,
        is_shown: bool,
        is_over: bool,
    ) -> (bool, Vec<(EngineKey, ContainerId)>) {
        let (mut moved, mut revealed) = (false, Vec::new());
        let id = split(container.id()).1;
        for (below, known) in self.lower(key, id) {
            let higher = self.related(&below, |layer, own| layer > own);
            if higher.iter().any(|key| self.sources[key].holds(id)) {
                continue;
            }
            let is_claimed = self.claims(&higher, split(known.id()).0);
            let Some(source) = self.sources.get_mut(&below) else { continue };
            let Some(hidden) = source.hidden.get_mut(known.id()) else { continue };
            let is_same = is_same_life(&known, container);
            if is_same && is_over {
                hidden.over = Some(known.life());
            } else if is_same && is_shown && !moved {
                source.hidden.remove(known.id());
                moved = true;
                self.publish_moved(&below, &known, container, key);
            } else if is_claimed && !is_same {
                // Its start is about to be reported.
                source.wait(known.id());
            } else if hidden.over != Some(known.life()) {
                revealed.push((below, known.id().clone()));
            }
        }
        (moved, revealed)
    }

    /// Shows the containers of a member that have waited for long enough.
    pub(super) fn expire(&mut self, key: &EngineKey, now: Instant) {
        while let Some(source) = self.sources.get_mut(key)
            && let Some((until, id)) = source.waiting.front().filter(|(until, _)| *until <= now).cloned()
        {
            source.waiting.pop_front();
            if source.hidden.get(&id).is_some_and(|hidden| hidden.until == Some(until)) {
                self.reveal(key, &id);
            }
        }
    }

    /// Shows the containers that wait for engines that are not live any more.
    pub(super) fn reveal_unclaimed(&mut self) {
        let keys: Vec<_> = self.sources.keys().cloned().collect();
        for key in keys {
            let higher = self.related(&key, |layer, own| layer > own);
            let Some(source) = self.sources.get(&key) else { continue };
            let waits = |(until, id): &&(Instant, ContainerId)| {
                source.hidden.get(id).is_some_and(|hidden| hidden.until == Some(*until))
            };
            let waiting = source.waiting.iter().filter(waits);
            let unclaimed = waiting.filter(|(_, id)| !self.claims(&higher, split(id).0));
            let unclaimed: Vec<_> = unclaimed.map(|(_, id)| (key.clone(), id.clone())).collect();
            self.reveal_all(unclaimed);
        }
    }

    fn reveal_all(&mut self, all: Vec<(EngineKey, ContainerId)>) {
        for (key, id) in all {
            self.reveal(&key, &id);
        }
    }

    /// Shows a container that was hidden.
    fn reveal(&mut self, key: &EngineKey, id: &ContainerId) {
        if let Some(source) = self.sources.get_mut(key)
            && source.hidden.remove(id).is_some()
            && let Some(container) = source.own.by_id(id).cloned()
        {
            self.publish_now(key, EventKind::Started(container));
        }
    }

    fn publish_moved(
        &mut self,
        key: &EngineKey,
        now: &Arc<Container>,
        was: &Arc<Container>,
        from: &EngineKey,
    ) {
        self.publish_now(
            key,
            EventKind::Moved { container: now.clone(), was: was.clone(), from: from.clone() },
        );
    }

    fn publish_now(&mut self, key: &EngineKey, kind: EventKind) {
        let engine = self.portfolio.member(key).and_then(|member| member.engine.clone());
        self.publish(key, Event::new(SystemTime::now(), kind).with_engine(engine));
    }

    /// Returns whether one of these members is live and has containers in that scope.
    fn claims(&self, keys: &[EngineKey], scope: &str) -> bool {
        keys.iter()
            .filter_map(|key| self.sources.get(key))
            .any(|source| source.is_live && source.scopes.contains(scope))
    }

    /// Returns whether the engine of an event is not the one that is at its endpoint now.
    fn is_of_former_engine(&self, key: &EngineKey, event: &Event) -> bool {
        let now = self.portfolio.member(key).and_then(|member| member.watcher().identity());
        event.engine.as_ref().zip(now).is_some_and(|(former, now)| former.id != now.id)
    }

    /// Returns the members of the same host of which this holds, given their layer and that of this member.
    fn related(&self, key: &EngineKey, is_wanted: impl Fn(Layer, Layer) -> bool) -> Vec<EngineKey> {
        let Some(source) = self.sources.get(key) else { return Vec::new() };
        let wanted = |other: &Source| other.host == source.host && is_wanted(other.layer, source.layer);
        self.sources.iter().filter(|(_, other)| wanted(other)).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the containers with this ID in lower engines of the same host, the highest first.
    fn lower(&self, key: &EngineKey, id: &str) -> Vec<(EngineKey, Arc<Container>)> {
        let mut keys = self.related(key, |layer, own| layer < own);
        keys.sort_by_key(|key| std::cmp::Reverse(self.sources[key].layer));
        let of = |key: EngineKey| {
            let all = self.sources[&key].own.all_by_unscoped_id(id).cloned();
            all.map(|container| (key.clone(), container)).collect::<Vec<_>>()
        };
        keys.into_iter().flat_map(of).collect()
    }
}
