//! Metrics of watchers for the recorder of the [`metrics`] crate.
//!
//! Each metric has the labels `engine` (its type) and `endpoint`. Counters: `whalewatcher_connects_total`,
//! `whalewatcher_resyncs_total`, `whalewatcher_events_total`, `whalewatcher_events_ignored_total`,
//! `whalewatcher_lists_total`, `whalewatcher_inspections_total`, `whalewatcher_retries_total`,
//! `whalewatcher_malformed_total`, `whalewatcher_audits_total`, `whalewatcher_drifted_total`,
//! `whalewatcher_contradictions_total`, `whalewatcher_lagged_total`. Gauges: `whalewatcher_containers`,
//! `whalewatcher_unresolved`, `whalewatcher_unwitnessed` and `whalewatcher_live`, which is 1 while the
//! portfolio is up to date and else 0.
//!
//! Those of a [fleet](report_fleet) have no labels: the counters `whalewatcher_fleet_joined_total`,
//! `whalewatcher_fleet_left_total` and `whalewatcher_fleet_moved_total` (containers that another engine shows
//! from now on), and the gauges `whalewatcher_fleet_engines`, `whalewatcher_fleet_engines_live` and
//! `whalewatcher_fleet_containers`, in which each container counts once.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use ::metrics::{counter, gauge};
use tokio::time::{Instant, timeout_at};
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio, FleetSubscription};
use whalewatcher_core::{EngineKey, EventKind, Figure, FigureKind, Fleet, FleetFigures, Watcher};

/// The most engines of a fleet that have metrics of their own: endpoints are labels, and engines that are
/// found come and go.
const MOST_ENGINES: usize = 256;

/// Records the current metrics of a watcher, for exporters that are asked for them.
pub fn record(watcher: &dyn Watcher) {
    let labels = labels(watcher.engine_type(), watcher.endpoint());
    for figure in Figure::of_watcher(watcher) {
        match figure.kind {
            FigureKind::Counter => counter!(name(&figure), &labels).absolute(figure.value),
            FigureKind::Gauge => gauge!(name(&figure), &labels).set(figure.value as f64),
        }
    }
}

/// Returns the name of a figure as a metric.
fn name(figure: &Figure) -> String {
    let unit = match figure.kind {
        FigureKind::Counter => "_total",
        FigureKind::Gauge => "",
    };
    format!("whalewatcher_{}{unit}", figure.name)
}

fn labels(engine_type: &str, endpoint: &str) -> [(&'static str, String); 2] {
    [("engine", engine_type.to_owned()), ("endpoint", endpoint.to_owned())]
}

/// Records the metrics of a watcher at this interval, until dropped.
pub async fn report(watcher: &dyn Watcher, every: Duration) -> Infallible {
    loop {
        record(watcher);
        tokio::time::sleep(every).await;
    }
}

/// Records the metrics of a fleet and of its members at this interval, until dropped, or until the fleet is closed.
///
/// The first 256 engines have metrics of their own; further ones are only in those of the fleet. The gauges
/// of an engine that has left are 0.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use whalewatcher::{Fleet, metrics};
///
/// let fleet = std::sync::Arc::new(Fleet::new());
/// # let closed = fleet.clone();
/// # tokio::spawn(async move { closed.close() });
/// metrics::report_fleet(&fleet, Duration::from_secs(10)).await;
/// # }
/// ```
pub async fn report_fleet(fleet: &Fleet, every: Duration) {
    let mut metrics = FleetMetrics::new(fleet);
    loop {
        metrics.record();
        if !metrics.follow(every).await {
            return;
        }
    }
}

/// What is counted of a fleet.
struct FleetMetrics {
    alive: FleetPortfolio,
    changes: FleetSubscription,
    figures: FleetFigures,
    /// Those that have metrics of their own.
    engines: BTreeSet<EngineKey>,
}

impl FleetMetrics {
    fn new(fleet: &Fleet) -> Self {
        let (alive, changes) = fleet.subscribe();
        let figures = FleetFigures::new(&alive);
        Self { alive, changes, figures, engines: BTreeSet::new() }
    }

    /// Counts events for some time. Returns `false` if the fleet was closed.
    async fn follow(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while let Ok(change) = timeout_at(until, self.changes.next()).await {
            let Some(change) = change else { return false };
            self.take(&change);
        }
        true
    }

    fn take(&mut self, change: &FleetEvent) {
        self.alive.apply(change);
        self.figures.record(change);
        if matches!(change.event.kind, EventKind::Left) && self.engines.contains(&change.key) {
            let labels = labels(change.key.engine_type(), change.key.endpoint());
            let all = Figure::of_watcher(&*change.watcher);
            all.filter(|figure| figure.kind == FigureKind::Gauge)
                .for_each(|figure| gauge!(name(&figure), &labels).set(0.0));
        }
    }

    fn record(&mut self) {
        for member in self.alive.members() {
            if self.engines.len() < MOST_ENGINES {
                self.engines.insert(member.key().clone());
            }
            if self.engines.contains(member.key()) {
                record(&**member.watcher());
            }
        }
        for figure in self.figures.all(&self.alive) {
            match figure.kind {
                FigureKind::Counter => counter!(name(&figure)).absolute(figure.value),
                FigureKind::Gauge => gauge!(name(&figure)).set(figure.value as f64),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
    use whalewatcher_core::{Container, EngineWatcher, watch};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn metrics_have_the_engine_and_endpoint() {
        let engine = Engine::at("somewhere");
        engine.start(Container::new("1", "web", 1));
        let handle = watch(engine.clone());
        handle.ready().await.unwrap();
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        ::metrics::with_local_recorder(&recorder, || record(&**handle.watcher()));
        let mut figures = BTreeMap::new();
        for (key, _, _, value) in snapshots.snapshot().into_vec() {
            let labels: Vec<_> = key.key().labels().map(|label| (label.key(), label.value())).collect();
            assert_eq!(labels, [("engine", "scripted"), ("endpoint", "somewhere")]);
            let figure = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(_) => panic!("{key:?} is no histogram"),
            };
            figures.insert(key.key().name().trim_start_matches("whalewatcher_").to_owned(), figure);
        }
        let figure = |name: &str| figures[name];
        assert_eq!(
            (figure("connects_total"), figure("lists_total"), figure("inspections_total")),
            (1.0, 1.0, 1.0)
        );
        assert_eq!((figure("containers"), figure("live"), figure("unresolved")), (1.0, 1.0, 0.0));
        assert_eq!(figures.len(), 16);
    }

    /// The metrics by their names, those of engines with the endpoint.
    fn recorded(snapshots: &Snapshotter) -> BTreeMap<String, f64> {
        let all = snapshots.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let endpoint = key.key().labels().find(|label| label.key() == "endpoint");
            let endpoint = endpoint.map(|label| format!(" {}", label.value())).unwrap_or_default();
            let figure = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(_) => panic!("{key:?} is no histogram"),
            };
            (key.key().name().trim_start_matches("whalewatcher_").to_owned() + &endpoint, figure)
        });
        all.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_counts_engines_that_join_and_leave() {
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        let _recorder = ::metrics::set_default_local_recorder(&recorder);
        let (fleet, engine) = (Fleet::new(), Engine::at("one"));
        engine.start(Container::new("1", "web", 1));
        let mut metrics = FleetMetrics::new(&fleet);
        let one = fleet.add(EngineWatcher::new(engine)).unwrap().key();
        fleet.add(EngineWatcher::new(Engine::at("other"))).unwrap();
        fleet.ready(Duration::from_secs(60)).await;
        assert!(metrics.follow(Duration::from_secs(1)).await);
        metrics.record();
        let figures = recorded(&snapshots);
        for (name, expected) in [
            ("fleet_joined_total", 2.0),
            ("fleet_left_total", 0.0),
            ("fleet_engines", 2.0),
            ("fleet_engines_live", 2.0),
            ("fleet_containers", 1.0),
            ("containers one", 1.0),
            ("live other", 1.0),
        ] {
            assert_eq!(figures[name], expected, "{name}: {figures:?}");
        }

        fleet.remove(&one);
        assert!(metrics.follow(Duration::from_secs(1)).await);
        metrics.record();
        let figures = recorded(&snapshots);
        for (name, expected) in
            [("fleet_left_total", 1.0), ("fleet_engines", 1.0), ("containers one", 0.0), ("live one", 0.0)]
        {
            assert_eq!(figures[name], expected, "{name}: {figures:?}");
        }
        fleet.close();
        while metrics.follow(Duration::from_secs(1)).await {}
    }

    #[tokio::test(start_paused = true)]
    async fn engines_that_come_and_go_have_a_bounded_number_of_metrics() {
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        let _recorder = ::metrics::set_default_local_recorder(&recorder);
        let fleet = Fleet::new();
        let mut metrics = FleetMetrics::new(&fleet);
        for number in 0..MOST_ENGINES + 3 {
            let key = fleet.add(EngineWatcher::new(Engine::at(&number.to_string()))).unwrap().key();
            assert!(metrics.follow(Duration::from_secs(1)).await);
            metrics.record();
            fleet.remove(&key);
        }
        assert!(metrics.follow(Duration::from_secs(1)).await);
        metrics.record();
        let figures = recorded(&snapshots);
        assert_eq!(figures["fleet_left_total"], (MOST_ENGINES + 3) as f64);
        let own = figures.keys().filter(|name| name.starts_with("live ")).count();
        assert_eq!(own, MOST_ENGINES);
    }
}
