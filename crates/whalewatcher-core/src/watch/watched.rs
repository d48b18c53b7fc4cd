//! What a watcher publishes: its portfolio, and the events that lead from one to the next.

use std::sync::Arc;
use std::time::SystemTime;

use crate::model::{EngineIdentity, Event, EventKind};
use crate::portfolio::{Portfolio, difference};
use crate::publication::{Publication, Published, Snapshot, Wakers};

/// The published state of a watcher.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) portfolio: Portfolio,
    /// The engine of the newest event.
    engine: Option<Arc<EngineIdentity>>,
    /// The newest event about the watch, with its number: a difference of portfolios does not contain it.
    about_watch: Option<(u64, Event)>,
}

impl Watched {
    /// Returns the state after a snapshot and more events.
    fn after(before: &Snapshot<Self>, events: &[Event], portfolio: Portfolio) -> Self {
        let numbered = (before.upto + 1..).zip(events);
        let about_watch = numbered.filter(|(_, event)| event.container().is_none()).last();
        let about_watch = about_watch.map(|(number, event)| (number, event.clone()));
        Self {
            portfolio,
            engine: events.last().and_then(|event| event.engine.clone()),
            about_watch: about_watch.or_else(|| before.state.about_watch.clone()),
        }
    }
}

impl Publication<Watched> {
    /// Returns the newest portfolio, without waiting.
    pub(crate) fn portfolio(&self) -> Portfolio {
        self.newest(|state| state.portfolio.clone())
    }

    /// Publishes events and the portfolio after them: first readers see the snapshot, then `in_between` runs, then
    /// subscribers receive the events. Must not be called concurrently.
    pub(crate) fn publish(&self, after: &Portfolio, events: Vec<Event>, in_between: impl FnOnce()) {
        self.publish_without_waking(after, events, in_between).wake();
    }

    /// Does the same, but leaves it to the caller to wake the subscribers.
    pub(crate) fn publish_without_waking(
        &self,
        after: &Portfolio,
        events: Vec<Event>,
        in_between: impl FnOnce(),
    ) -> Wakers<Watched> {
        if events.is_empty() {
            let is_same = self.newest(|state| state.portfolio.is_same(after));
            let wakers = if is_same { Wakers::none() } else { self.repack(after) };
            in_between();
            return wakers;
        }
        self.publish_events(
            events,
            |before, events| Watched::after(before, events, after.clone()),
            in_between,
        )
    }

    fn repack(&self, after: &Portfolio) -> Wakers<Watched> {
        self.replace(|Watched { engine, about_watch, .. }| Watched {
            portfolio: after.clone(),
            engine: engine.clone(),
            about_watch: about_watch.clone(),
        })
    }
}

impl Published for Watched {
    type Event = Event;

    fn total(&self) -> usize {
        self.portfolio.total()
    }

    fn catch_up(before: &Snapshot<Self>, after: &Snapshot<Self>) -> Vec<Event> {
        let now = SystemTime::now();
        let missed = after.upto - before.upto;
        let (former, newest) = (&before.state, &after.state);
        let mut events =
            vec![Event::new(now, EventKind::Lagged { missed }).with_engine(newest.engine.clone())];
        events.extend(difference(&former.portfolio, &newest.portfolio).into_iter().map(|kind| {
            let engine =
                if matches!(kind, EventKind::Exited { .. }) { &former.engine } else { &newest.engine };
            Event::new(now, kind).with_engine(engine.clone())
        }));
        let about_watch = newest.about_watch.as_ref().filter(|(number, _)| *number > before.upto);
        events.extend(about_watch.map(|(_, event)| {
            let mut event = event.clone();
            // The event still holds, with the number of containers after the difference.
            if let EventKind::Synced { containers, .. } = &mut event.kind {
                *containers = newest.portfolio.total();
            }
            event
        }));
        events
    }
}
