//! The figures of watchers and fleets for monitoring: one table for all that export them.

use crate::fleet::{FleetEvent, FleetPortfolio};
use crate::model::EventKind;
use crate::watch::Watcher;

/// A figure of a watcher or of a fleet, for monitoring.
///
/// ```
/// # use whalewatcher_core::scripted::Engine;
/// use whalewatcher_core::{EngineWatcher, Figure};
///
/// let watcher = EngineWatcher::new(Engine::new());
/// for figure in Figure::of_watcher(&watcher) {
///     println!("# {}\n{} {}", figure.help, figure.name, figure.value);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figure {
    /// Its name, such as `connects`, without what the conventions of a monitoring system add.
    pub name: &'static str,
    /// What it counts, as a sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: FigureKind,
    /// Its value.
    pub value: u64,
}

/// How a figure changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureKind {
    /// It only grows, and is 0 at the start.
    Counter,
    /// It is as it is now.
    Gauge,
}

impl Figure {
    fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: FigureKind::Counter, value }
    }

    fn gauge(name: &'static str, help: &'static str, value: usize) -> Self {
        Self { name, help, kind: FigureKind::Gauge, value: value as u64 }
    }

    /// Returns the figures of a watcher, always the same ones in the same order.
    pub fn of_watcher(watcher: &dyn Watcher) -> impl Iterator<Item = Self> + use<> {
        let status = watcher.status();
        let counters = &status.counters;
        [
            Self::counter("connects", "Attempts to connect to the engine.", counters.connects),
            Self::counter("resyncs", "Connections on which the picture came in sync.", counters.resyncs),
            Self::counter("events", "Events received from the engine.", counters.events),
            Self::counter(
                "events_ignored",
                "Events of the engine that neither changed anything nor caused an inspection.",
                counters.ignored,
            ),
            Self::counter("lists", "Lists requested from the engine.", counters.lists),
            Self::counter("inspections", "Inspections requested from the engine.", counters.inspections),
            Self::counter("retries", "Inspections that were repeated after a failure.", counters.retries),
            Self::counter(
                "malformed",
                "Connections dropped because of a malformed answer or event.",
                counters.malformed,
            ),
            Self::counter("audits", "Comparisons of the picture with the engine's list.", counters.audits),
            Self::counter(
                "drifted",
                "Containers that an audit found to be wrong and repaired.",
                counters.drifted,
            ),
            Self::counter(
                "contradictions",
                "Reports of the engine that the kernel contradicted.",
                counters.contradictions,
            ),
            Self::counter(
                "lagged",
                "How many times a subscriber lagged and received the difference.",
                counters.lagged,
            ),
            Self::gauge("containers", "Live containers.", watcher.portfolio().total()),
            Self::gauge(
                "unresolved",
                "Containers that cannot be inspected, and are missing or as last known.",
                status.unresolved.total(),
            ),
            Self::gauge("unwitnessed", "Containers whose ends only the engine reports.", status.unwitnessed),
            Self::gauge(
                "live",
                "1 while the picture is in sync with the engine, else 0.",
                status.is_live().into(),
            ),
        ]
        .into_iter()
    }
}

/// Counts what happens in a fleet, for monitoring.
///
/// ```
/// use whalewatcher_core::{FigureKind, Fleet, FleetFigures};
///
/// let (now, changes) = Fleet::new().subscribe();
/// // To be continued with `record`, for each of the changes.
/// let figures = FleetFigures::new(&now);
/// let names: Vec<_> = figures.all(&now).map(|figure| figure.name).collect();
/// assert!(names.contains(&"fleet_joined") && names.contains(&"fleet_containers"));
/// # drop(changes);
/// ```
#[derive(Clone, Debug)]
pub struct FleetFigures {
    joined: u64,
    left: u64,
    moved: u64,
}

impl FleetFigures {
    /// Begins to count, with what a subscription begins with.
    #[must_use]
    pub fn new(begin: &FleetPortfolio) -> Self {
        Self { joined: begin.members().count() as u64, left: 0, moved: 0 }
    }

    /// Counts a change.
    pub fn record(&mut self, change: &FleetEvent) {
        match change.event.kind {
            EventKind::Joined => self.joined += 1,
            EventKind::Left => self.left += 1,
            EventKind::Moved { .. } => self.moved += 1,
            _ => {}
        }
    }

    /// Returns all figures, always the same ones in the same order.
    pub fn all(&self, now: &FleetPortfolio) -> impl Iterator<Item = Figure> + use<> {
        let live = now.members().filter(|member| member.is_live()).count();
        [
            Figure::counter("fleet_joined", "Engines that have joined.", self.joined),
            Figure::counter("fleet_left", "Engines that have left.", self.left),
            Figure::counter("fleet_moved", "Containers that another engine showed from then on.", self.moved),
            Figure::gauge("fleet_engines", "Engines that are watched.", now.members().count()),
            Figure::gauge("fleet_engines_live", "Engines that the picture is in sync with.", live),
            Figure::gauge("fleet_containers", "Live containers, each counted once.", now.total()),
        ]
        .into_iter()
    }
}
