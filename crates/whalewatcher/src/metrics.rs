//! Metrics of watchers for the recorder of the [`metrics`] crate.
//!
//! Each metric has the labels `engine` (its type) and `endpoint`. Counters: `whalewatcher_connects_total`,
//! `whalewatcher_resyncs_total`, `whalewatcher_events_total`, `whalewatcher_events_ignored_total`,
//! `whalewatcher_lists_total`, `whalewatcher_inspections_total`, `whalewatcher_retries_total`,
//! `whalewatcher_malformed_total`, `whalewatcher_audits_total`, `whalewatcher_drifted_total`,
//! `whalewatcher_contradictions_total`, `whalewatcher_lagged_total`. Gauges: `whalewatcher_containers`,
//! `whalewatcher_unresolved`, `whalewatcher_unwitnessed` and `whalewatcher_live`, which is 1 while the portfolio is up to date
//! and else 0.

use std::convert::Infallible;
use std::time::Duration;

use ::metrics::{counter, gauge};
use whalewatcher_core::Watcher;

/// Records the current metrics of a watcher, for exporters that are asked for them.
pub fn record(watcher: &dyn Watcher) {
    let labels = [("engine", watcher.engine_type().to_owned()), ("endpoint", watcher.endpoint().to_owned())];
    let status = watcher.status();
    let counters = &status.counters;
    for (name, count) in [
        ("whalewatcher_connects_total", counters.connects),
        ("whalewatcher_resyncs_total", counters.resyncs),
        ("whalewatcher_events_total", counters.events),
        ("whalewatcher_events_ignored_total", counters.ignored),
        ("whalewatcher_lists_total", counters.lists),
        ("whalewatcher_inspections_total", counters.inspections),
        ("whalewatcher_retries_total", counters.retries),
        ("whalewatcher_malformed_total", counters.malformed),
        ("whalewatcher_audits_total", counters.audits),
        ("whalewatcher_drifted_total", counters.drifted),
        ("whalewatcher_contradictions_total", counters.contradictions),
        ("whalewatcher_lagged_total", counters.lagged),
    ] {
        counter!(name, &labels).absolute(count);
    }
    for (name, value) in [
        ("whalewatcher_containers", watcher.portfolio().total()),
        ("whalewatcher_unresolved", status.unresolved.total()),
        ("whalewatcher_unwitnessed", status.unwitnessed),
        ("whalewatcher_live", usize::from(status.is_live())),
    ] {
        gauge!(name, &labels).set(value as f64);
    }
}

/// Records the metrics of a watcher at this interval, until dropped.
pub async fn report(watcher: &dyn Watcher, every: Duration) -> Infallible {
    loop {
        record(watcher);
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use whalewatcher_core::{Container, watch};
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
}
