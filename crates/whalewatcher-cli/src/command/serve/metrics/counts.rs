//! What is counted from the events of the fleet.

use std::collections::{BTreeMap, BTreeSet};

use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio};
use whalewatcher_core::{Container, EngineKey, EventKind, FleetFigures};

/// The most engines at a time that have metrics of their own: endpoints are labels.
pub(super) const MOST_ENGINES: usize = 256;

/// The most projects whose exits are counted by themselves, until the server ends.
pub(super) const MOST_PROJECTS: usize = 256;

/// The project of the exits of all others, and of those with names longer than this.
pub(super) const OTHERS: &str = "(others)";
const LONGEST_PROJECT: usize = 256;

/// How lives end.
pub(super) const REASONS: [&str; 5] = ["zero", "nonzero", "signal", "oom", "unknown"];

/// A shell reports a signal as this much more than its number, and so do engines.
const SIGNALLED: i32 = 128;
const LAST_SIGNAL: i32 = 64;

#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) fleet: FleetFigures,
    /// The engines that have metrics of their own.
    pub(super) engines: BTreeSet<EngineKey>,
    /// The exits of each project for each of the reasons.
    pub(super) exits: BTreeMap<String, [u64; REASONS.len()]>,
}

impl Counts {
    pub(super) fn new(begin: &FleetPortfolio) -> Self {
        let engines = begin.members().take(MOST_ENGINES).map(|member| member.key().clone()).collect();
        // So that the first exit is a change too.
        let exits = BTreeMap::from([(String::new(), Default::default())]);
        Self { fleet: FleetFigures::new(begin), engines, exits }
    }

    pub(super) fn record(&mut self, change: &FleetEvent) {
        self.fleet.record(change);
        match &change.event.kind {
            EventKind::Joined if self.engines.len() < MOST_ENGINES => {
                self.engines.insert(change.key.clone());
            }
            EventKind::Left => {
                self.engines.remove(&change.key);
            }
            EventKind::Started(container) => {
                self.of_project(container.project());
            }
            EventKind::Exited { container, code } => {
                self.of_project(container.project())[reason(container, *code)] += 1;
            }
            _ => {}
        }
    }

    /// Returns the exits of a project, from its first container on.
    fn of_project(&mut self, name: &str) -> &mut [u64; REASONS.len()] {
        let has_room = self.exits.len() <= MOST_PROJECTS && name.len() <= LONGEST_PROJECT;
        let name = if has_room || self.exits.contains_key(name) { name } else { OTHERS };
        self.exits.entry(name.to_owned()).or_default()
    }
}

/// Returns the index of the reason. That a process was killed for lack of memory is none if the first one
/// ended well after it.
fn reason(container: &Container, code: Option<i32>) -> usize {
    match code {
        Some(0) => 0,
        _ if container.oom_killed() => 3,
        Some(code) if (SIGNALLED + 1..=SIGNALLED + LAST_SIGNAL).contains(&code) => 2,
        Some(_) => 1,
        None => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use whalewatcher_core::{COMPOSE_PROJECT_LABEL, Event, Labels};

    use super::super::super::feed::tests::feed;
    use super::*;

    fn of(project: &str) -> Container {
        Container::new("1", "web", 7).with_labels(Labels::from_iter([(COMPOSE_PROJECT_LABEL, project)]))
    }

    #[test]
    fn exits_have_one_reason_each() {
        let (plain, killed) = (of("shop"), of("shop").with_oom_killed(true));
        for (container, code, expected) in [
            (&plain, Some(0), "zero"),
            (&plain, Some(1), "nonzero"),
            (&plain, Some(128), "nonzero"),
            (&plain, Some(129), "signal"),
            (&plain, Some(192), "signal"),
            (&plain, Some(193), "nonzero"),
            (&plain, Some(-1), "nonzero"),
            (&plain, None, "unknown"),
            (&killed, Some(137), "oom"),
            (&killed, None, "oom"),
            (&killed, Some(0), "zero"),
        ] {
            assert_eq!(REASONS[reason(container, code)], expected, "{code:?} {}", container.oom_killed());
        }
    }

    #[tokio::test]
    async fn projects_and_engines_are_bounded() {
        let (_, joined) = feed();
        let mut counts = Counts::new(&FleetPortfolio::default());
        let mut record = |kind| counts.record(&joined.with_event(Event::new(SystemTime::now(), kind)));
        record(EventKind::Joined);
        for number in 0..MOST_PROJECTS + 7 {
            let container = Arc::new(of(&format!("p{number}")));
            record(EventKind::Started(container.clone()));
            record(EventKind::Exited { container, code: Some(0) });
        }
        let long = Arc::new(of(&"x".repeat(LONGEST_PROJECT + 1)));
        record(EventKind::Exited { container: long, code: Some(1) });
        // That without a name, and the others.
        assert_eq!(counts.exits.len(), MOST_PROJECTS + 2);
        assert_eq!((counts.exits["p0"], counts.exits[OTHERS]), ([1, 0, 0, 0, 0], [7, 1, 0, 0, 0]));
        assert_eq!(counts.engines.len(), 1);
        counts.record(&joined.with_event(Event::new(SystemTime::now(), EventKind::Left)));
        assert!(counts.engines.is_empty());
    }
}
