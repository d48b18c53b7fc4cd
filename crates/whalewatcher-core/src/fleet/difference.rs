//! What a subscriber to a fleet that lags receives.

use std::time::SystemTime;

use super::event::FleetEvent;
use super::member::FleetMember;
use super::portfolio::FleetPortfolio;
use crate::model::{Event, EventKind};
use crate::portfolio::{Portfolio, difference};
use crate::publication::{Published, Snapshot};

impl Published for FleetPortfolio {
    type Event = FleetEvent;

    fn total(&self) -> usize {
        self.total()
    }

    fn catch_up(before: &Snapshot<Self>, after: &Snapshot<Self>) -> Vec<FleetEvent> {
        CatchUp { time: SystemTime::now(), before: &before.state, after: &after.state, events: Vec::new() }
            .events()
    }
}

struct CatchUp<'a> {
    time: SystemTime,
    before: &'a FleetPortfolio,
    after: &'a FleetPortfolio,
    events: Vec<FleetEvent>,
}

impl CatchUp<'_> {
    /// Returns the events: members that left, those that joined, and for each that is there its difference, with the newest event
    /// about its watch last.
    fn events(mut self) -> Vec<FleetEvent> {
        let Self { before, after, .. } = self;
        for member in before.members().filter(|member| counterpart(after, member).is_none()) {
            self.push_difference(member, member, &Portfolio::default());
            self.push(member, EventKind::Left);
        }
        for member in after.members() {
            let known = counterpart(before, member);
            if known.is_none() {
                self.push(member, EventKind::Joined);
            }
            // Of a new member, it receives `Joined`.
            let missed = member.events - known.map_or(1, |known| known.events);
            if missed > 0 {
                self.push(member, EventKind::Lagged { missed });
            }
            let empty = FleetMember::new(member.key().clone(), member.watcher().clone());
            self.push_difference(known.unwrap_or(&empty), member, member.portfolio());
            if let Some((_, event)) =
                member.about_watch.as_ref().filter(|(number, _)| *number > before.revision())
            {
                let mut event = event.clone();
                // The event still holds, with the number of containers after the difference.
                if let EventKind::Synced { containers, .. } = &mut event.kind {
                    *containers = member.portfolio().total();
                }
                self.push_event(member, event);
            }
        }
        self.events
    }

    fn push_difference(&mut self, before: &FleetMember, after: &FleetMember, portfolio: &Portfolio) {
        for kind in difference(before.portfolio(), portfolio) {
            let is_exit = matches!(kind, EventKind::Exited { .. });
            self.push(if is_exit { before } else { after }, kind);
        }
    }

    fn push(&mut self, member: &FleetMember, kind: EventKind) {
        self.push_event(member, Event::new(self.time, kind).with_engine(member.engine.clone()));
    }

    fn push_event(&mut self, member: &FleetMember, event: Event) {
        let (key, watcher) = (member.key().clone(), member.watcher().clone());
        self.events.push(FleetEvent { revision: self.after.revision(), key, watcher, event });
    }
}

/// Returns the same watcher's member in another snapshot.
fn counterpart<'a>(portfolio: &'a FleetPortfolio, member: &FleetMember) -> Option<&'a FleetMember> {
    portfolio.member(member.key()).filter(|other| other.is_same(member))
}
