//! What is a change, and what an engine showed when it was first listed.

use std::collections::HashMap;

use whalewatcher_core::fleet::FleetEvent;
use whalewatcher_core::{EngineKey, EventKind, Portfolio};

/// Which engines are being listed for the first time.
#[derive(Default)]
pub(super) struct Beginnings(HashMap<EngineKey, Beginning>);

/// The beginning of one engine.
#[derive(Default)]
enum Beginning {
    /// It is not in sync yet.
    #[default]
    Listing,
    /// It may never be in sync, since it cannot list everything. This is what it could list.
    Incomplete(Portfolio),
    /// It was in sync.
    Over,
}

impl Beginnings {
    /// Returns whether an event is a change, or about the watch. To be called with each event.
    ///
    /// The first list is over with the first `synced`. An engine that cannot list everything may never have
    /// one: there, all is a change but the starts of what it could list.
    pub(super) fn is_change(&mut self, change: &FleetEvent) -> bool {
        let FleetEvent { key, watcher, event, .. } = change;
        let beginning = self.0.entry(key.clone()).or_default();
        if let EventKind::Synced { .. } = event.kind {
            *beginning = Beginning::Over;
        } else if let EventKind::Left = event.kind {
            // The engine may join again.
            self.0.remove(key);
            return true;
        } else if let Beginning::Listing = beginning
            && !watcher.status().unlisted.is_empty()
        {
            // The portfolio was published before the status, so it contains the list.
            *beginning = Beginning::Incomplete(watcher.portfolio());
        }
        let Some(container) = event.container() else { return true };
        match beginning {
            Beginning::Listing => false,
            Beginning::Incomplete(listed) => {
                let same_life =
                    listed.by_id(container.id().as_str()).is_some_and(|one| one.life() == container.life());
                !(same_life && matches!(event.kind, EventKind::Started(_)))
            }
            Beginning::Over => true,
        }
    }
}
