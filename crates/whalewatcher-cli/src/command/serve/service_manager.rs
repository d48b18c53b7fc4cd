//! Reports to the service manager (systemd's `sd_notify`): when the server is ready, what it waits for, and
//! that it works.

use std::env;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select_all;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};
use whalewatcher_core::Printable;
use whalewatcher_etcd::{Hub, HubStatus};

use super::readiness::Waiting;
use super::routes::Served;

/// When the server is reported as ready although an engine is not in sync: what starts after it does not wait
/// for that engine.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long the report stays as it is at least.
const PAUSE: Duration = Duration::from_millis(500);

/// Reports for as long as it is not dropped, if there is a service manager to report to.
pub(super) async fn report(served: Served) {
    if env::var_os("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
        return pending().await;
    }
    let _stopping = Stopping;
    // Sending blocks if the service manager does not read.
    let send = async |report: Report| {
        let sent = spawn_blocking(move || sd_notify::notify(&[report.state()]));
        if let Ok(Err(error)) = sent.await {
            tracing::debug!(%error, "cannot report to the service manager");
        }
    };
    follow(&served, sd_notify::watchdog_enabled(), send).await;
}

#[derive(Debug, PartialEq)]
enum Report {
    Ready,
    Status(String),
    Watchdog,
}

impl Report {
    fn state(&self) -> NotifyState<'_> {
        match self {
            Self::Ready => NotifyState::Ready,
            Self::Status(text) => NotifyState::Status(text),
            Self::Watchdog => NotifyState::Watchdog,
        }
    }
}

async fn follow(served: &Served, watchdog: Option<Duration>, send: impl AsyncFn(Report)) {
    let working = async {
        let Some(limit) = watchdog.filter(|limit| !limit.is_zero()) else { return pending().await };
        let mut ticks = interval(limit / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            send(Report::Watchdog).await;
        }
    };
    let reporting = async {
        let mut clusters: Vec<_> = served.hubs.iter().map(Hub::follow_status).collect();
        let (mut changed, mut limit) = (served.feed.follow(), pin!(sleep(READY_LIMIT)));
        let mut settled = pin!(async {
            if let Some(discovery) = &served.discovery {
                discovery.settled().await;
            }
        });
        let (mut is_ready, mut is_settled, mut reported) = (false, false, String::new());
        loop {
            changed.borrow_and_update();
            clusters.iter_mut().for_each(|cluster| drop(cluster.borrow_and_update()));
            let waiting = served.waiting();
            let status = status(&waiting, served.fleet.watchers().len());
            if status != reported {
                reported.clone_from(&status);
                send(Report::Status(status)).await;
            }
            if !is_ready && (waiting.is_empty() || limit.is_elapsed()) {
                is_ready = true;
                send(Report::Ready).await;
            }
            tokio::select! {
                changed = changed.changed() => match changed {
                    Ok(()) if is_ready => sleep(PAUSE).await,
                    Ok(()) => {}
                    Err(_) => pending().await,
                },
                () = any_changed(&mut clusters) => {}
                () = &mut settled, if !is_settled => is_settled = true,
                () = &mut limit, if !is_ready => {}
            }
        }
    };
    tokio::join!(working, reporting);
}

/// Waits until the status of one of these changes.
async fn any_changed(clusters: &mut [watch::Receiver<HubStatus>]) {
    if clusters.is_empty() {
        return pending().await;
    }
    let changes = clusters.iter_mut().map(|cluster| {
        Box::pin(async move {
            if cluster.changed().await.is_err() {
                pending::<()>().await;
            }
        })
    });
    select_all(changes).await;
}

/// Describes what is awaited in one line.
fn status(waiting: &[Waiting], engines: usize) -> String {
    let status = match waiting {
        [] => format!("in sync with {}", counted(engines)),
        [first, rest @ ..] => {
            let place = if first.engine.is_empty() { String::new() } else { format!("{}: ", first.engine) };
            let others = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            format!("waiting: {place}{}{others}", first.reason)
        }
    };
    Printable(&status).to_string()
}

fn counted(engines: usize) -> String {
    if engines == 1 { "1 engine".to_owned() } else { format!("{engines} engines") }
}

/// Reports the end of the server when it is dropped.
struct Stopping;

impl Drop for Stopping {
    fn drop(&mut self) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::{Instant, timeout};
    use tokio_util::sync::CancellationToken;
    use whalewatcher_core::fleet::FleetPortfolio;
    use whalewatcher_core::{EngineWatcher, Fleet};
    use whalewatcher_moby::Client;

    use super::super::feed::Feed;
    use super::super::metrics::Metrics;
    use super::*;
    use crate::args::ContainerMetrics;

    /// Returns what is reported in a time, and when.
    async fn reports(fleet: Fleet, watchdog: Option<Duration>, time: Duration) -> Vec<(Duration, Report)> {
        let begin = FleetPortfolio::default();
        let served = Served {
            metrics: Metrics::new(&begin, ContainerMetrics::None),
            feed: Feed::new(begin),
            fleet: Arc::new(fleet),
            discovery: None,
            hubs: Arc::default(),
            ending: CancellationToken::new(),
        };
        let (begin, all) = (Instant::now(), Mutex::new(Vec::new()));
        let send = async |report| all.lock().unwrap().push((begin.elapsed(), report));
        assert!(timeout(time, follow(&served, watchdog, send)).await.is_err());
        all.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_whose_engine_is_away_is_ready_after_a_time_limit() {
        let fleet = Fleet::new();
        let away = Client::builder().endpoint("unix:///no/such.sock").build().unwrap();
        fleet.add(EngineWatcher::new(away)).unwrap();
        let all = reports(fleet, None, 10 * READY_LIMIT).await;
        let ready: Vec<_> = all.iter().filter(|(_, report)| *report == Report::Ready).collect();
        assert_eq!(ready, [&(READY_LIMIT, Report::Ready)]);
        let is_waiting =
            |report: &Report| matches!(report, Report::Status(text) if text.starts_with("waiting: "));
        assert!(all.iter().all(|(_, report)| *report == Report::Ready || is_waiting(report)), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_engines_is_ready_at_once_and_reports_that_it_works() {
        let all = reports(Fleet::new(), Some(Duration::from_secs(60)), Duration::from_secs(100)).await;
        let [watchdogs, others] = [true, false].map(|is_watchdog| {
            let some = all.iter().filter(move |(_, report)| (*report == Report::Watchdog) == is_watchdog);
            some.collect::<Vec<_>>()
        });
        assert_eq!(watchdogs.iter().map(|(at, _)| at.as_secs()).collect::<Vec<_>>(), [0, 30, 60, 90]);
        let status = Report::Status("in sync with 0 engines".to_owned());
        assert_eq!(others, [&(Duration::ZERO, status), &(Duration::ZERO, Report::Ready)]);
    }

    #[test]
    fn a_status_is_one_line() {
        let waiting = |reason: &str| Waiting { engine: "e".to_owned(), reason: reason.to_owned() };
        let text = status(&[waiting("bad\nREADY=1"), waiting("x"), waiting("y")], 3);
        assert_eq!(text, "waiting: e: bad\\nREADY=1 (and 2 more)");
    }
}
