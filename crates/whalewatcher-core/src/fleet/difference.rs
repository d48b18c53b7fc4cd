//! What a subscriber to a fleet that lags receives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::event::FleetEvent;
use super::member::FleetMember;
use super::portfolio::FleetPortfolio;
use super::source::{is_same_life, split};
use crate::model::{Container, Event, EventKind};
use crate::portfolio::{self, Portfolio};
use crate::publication::{Published, Snapshot};

impl Published for FleetPortfolio {
    type Event = FleetEvent;

    fn total(&self) -> usize {
        self.total()
    }

    fn catch_up(before: &Snapshot<Self>, after: &Snapshot<Self>) -> Vec<FleetEvent> {
        difference(&before.state, &after.state)
    }
}

/// Returns the events that a subscriber receives in place of those between an earlier snapshot and a later
/// one of the same fleet: what joined, how many events it missed, what moved, exited, left, started and
/// changed. Applied to `before`, they make it equal to `after`.
///
/// It is for code that distributes the events of a subscription, and has readers of its own that lag.
#[must_use]
pub fn difference(before: &FleetPortfolio, after: &FleetPortfolio) -> Vec<FleetEvent> {
    CatchUp { time: SystemTime::now(), before, after, fold: before.clone(), events: Vec::new() }.events()
}

struct CatchUp<'a> {
    time: SystemTime,
    before: &'a FleetPortfolio,
    after: &'a FleetPortfolio,
    /// The sum of the events so far.
    fold: FleetPortfolio,
    events: Vec<FleetEvent>,
}

impl<'a> CatchUp<'a> {
    /// Returns the events: what joined, how many were missed, what moved, what exited or left, and what
    /// started or changed, with the newest event about each watch last.
    fn events(mut self) -> Vec<FleetEvent> {
        let Self { before, after, .. } = self;
        let gone: Vec<_> = before.members().filter(|member| counterpart(after, member).is_none()).collect();
        // A key that is another watcher's now must be free before that one joins.
        let (replaced, left): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|member| after.member(member.key()).is_some());
        replaced.into_iter().for_each(|member| self.push_end(member));
        for member in after.members() {
            let known = counterpart(before, member);
            if known.is_none() {
                self.push(member, EventKind::Joined);
            }
            // Of a new member, it receives `Joined`.
            let missed = member.events.saturating_sub(known.map_or(1, |known| known.events));
            if missed > 0 {
                self.push(member, EventKind::Lagged { missed });
            }
        }
        for (member, moved) in self.moved() {
            self.push(member, moved);
        }
        left.into_iter().for_each(|member| self.push_end(member));
        for member in after.members() {
            let folded = self.fold.member(member.key()).map(|folded| folded.portfolio().clone());
            for kind in portfolio::difference(&folded.unwrap_or_default(), member.portfolio()) {
                let is_exit = matches!(kind, EventKind::Exited { .. });
                self.push(counterpart(before, member).filter(|_| is_exit).unwrap_or(member), kind);
            }
            if let Some((_, event)) = member.about_watch.as_ref().filter(|(at, _)| *at > before.revision()) {
                let mut event = event.clone();
                // The event still holds, with the number of containers after the difference.
                if let EventKind::Synced { containers, .. } = &mut event.kind {
                    *containers = member.portfolio().total();
                }
                self.push_event(member, event);
            }
        }
        if let Some(last) = self.events.last_mut() {
            last.revision = after.revision();
        }
        self.events
    }

    /// Returns the containers that another engine of the same host shows now.
    fn moved(&self) -> Vec<(&'a FleetMember, EventKind)> {
        let mut gone = HashMap::<&str, Vec<(&FleetMember, &Arc<Container>)>>::new();
        for (member, container) in self.fold.containers() {
            if self
                .after
                .member(member.key())
                .is_none_or(|now| now.portfolio().by_id(container.id()).is_none())
            {
                gone.entry(split(container.id()).1).or_default().push((member, container));
            }
        }
        let (after, mut moved) = (self.after, Vec::new());
        if gone.is_empty() {
            return moved;
        }
        for (member, container) in after.containers() {
            let folded = self.fold.member(member.key());
            if folded.is_some_and(|folded| folded.portfolio().by_id(container.id()).is_some()) {
                continue;
            }
            let Some(former) = gone.get_mut(split(container.id()).1) else { continue };
            let is_it = |(other, was): &(&FleetMember, &Arc<Container>)| {
                other.watcher().layer() != member.watcher().layer()
                    && other.key().host() == member.key().host()
                    && is_same_life(was, container)
            };
            if let Some(at) = former.iter().position(is_it) {
                let (from, was) = former.swap_remove(at);
                let (was, from) = (was.clone(), from.key().clone());
                moved.push((member, EventKind::Moved { container: container.clone(), was, from }));
            }
        }
        moved
    }

    /// Adds the exits of all containers of a member, and that it left.
    fn push_end(&mut self, member: &FleetMember) {
        let folded = self.fold.member(member.key()).map(|folded| folded.portfolio().clone());
        for kind in portfolio::difference(&folded.unwrap_or_default(), &Portfolio::default()) {
            self.push(member, kind);
        }
        self.push(member, EventKind::Left);
    }

    fn push(&mut self, member: &FleetMember, kind: EventKind) {
        self.push_event(member, Event::new(self.time, kind).with_engine(member.engine.clone()));
    }

    fn push_event(&mut self, member: &FleetMember, event: Event) {
        let (key, watcher) = (member.key().clone(), member.watcher().clone());
        let event = FleetEvent { revision: self.before.revision(), key, watcher, event };
        self.fold.apply(&event);
        self.events.push(event);
    }
}

/// Returns the same watcher's member in another snapshot.
fn counterpart<'a>(portfolio: &'a FleetPortfolio, member: &FleetMember) -> Option<&'a FleetMember> {
    portfolio.member(member.key()).filter(|other| other.is_same(member))
}
