//! Faults of the connection, caused by the test kit's proxy: the watcher recovers from each, and announces nothing that has
//! not happened.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use whalewatcher_containerd::Client;
use whalewatcher_core::{Backoff, EventKind, Portfolio, Settings, Subscription, WatchHandle, watch_with};
use whalewatcher_testkit::containerd::Server;
use whalewatcher_testkit::proxy::{Direction, Fault, Proxy, Refusal};

/// The limit for each step of a test.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time limit of the watcher's calls.
const LIMIT: Duration = Duration::from_millis(500);
/// The silence after which the event stream is probed.
const SILENCE: Duration = Duration::from_millis(100);

/// An engine behind a proxy, a watcher, and a subscriber's fold.
struct Stage {
    server: Server,
    proxy: Proxy,
    watching: WatchHandle<Client>,
    events: Subscription,
    fold: Portfolio,
    /// All lives that there were, by ID and PID.
    lives: HashSet<(String, u32)>,
    begun: HashSet<(String, u32)>,
    ended: HashSet<(String, u32)>,
}

impl Stage {
    async fn begin() -> Self {
        let server = Server::builder().start().unwrap();
        for id in ["stays", "shop/goes", "shop/restarts"] {
            server.run(id).unwrap();
        }
        let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
        let settings = Settings::default()
            .with_backoff(Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(10)))
            .with_limits(LIMIT, LIMIT, LIMIT)
            .with_probes(SILENCE, LIMIT)
            .with_audits(None);
        let watching = watch_with(Client::new(proxy.endpoint()).unwrap(), settings);
        let (fold, events) = watching.subscribe();
        let (lives, begun, ended) = Default::default();
        let mut stage = Self { server, proxy, watching, events, fold, lives, begun, ended };
        stage.note_lives();
        stage.settled("before any fault").await;
        stage
    }

    fn note_lives(&mut self) {
        self.lives.extend(self.server.truth().into_iter().map(|alive| (alive.key, alive.pid)));
    }

    /// Changes containers in all ways.
    fn change(&mut self) {
        self.server.pause("stays").unwrap();
        self.server.exit("shop/goes", 0).unwrap();
        self.server.remove("shop/restarts").unwrap();
        self.server.run("shop/restarts").unwrap();
        self.server.run("new/comes").unwrap();
        self.note_lives();
    }

    fn is_true(&self) -> bool {
        let portfolio = self.watching.portfolio();
        let truth = self.server.truth();
        self.watching.status().is_live()
            && portfolio == self.fold
            && portfolio.total() == truth.len()
            && truth.iter().all(|alive| {
                let known = portfolio.by_id(&alive.key);
                known.is_some_and(|known| (known.pid(), known.paused()) == (alive.pid, alive.paused))
            })
    }

    /// Reads events until the portfolio is true.
    async fn settled(&mut self, fault: &str) {
        let settling = async {
            while !self.is_true() {
                let event = self.events.next().await.expect("the subscription goes on");
                self.fold.apply(&event.kind);
                let Some(container) = event.container() else { continue };
                let life = (container.id().to_string(), container.pid());
                assert!(self.lives.contains(&life), "{fault}: {event}, but there never was such a life");
                match &event.kind {
                    EventKind::Started(_) => assert!(self.begun.insert(life), "{fault}: {event} again"),
                    EventKind::Exited { .. } => assert!(self.ended.insert(life), "{fault}: {event} again"),
                    _ => {}
                }
            }
        };
        let settled = timeout(PATIENCE, settling).await;
        let status = self.watching.status();
        assert!(settled.is_ok(), "{fault}: {:?} instead of {:?}, {status}", self.fold, self.server.truth());
    }

    /// Changes containers during the fault, which lasts as long as it takes to be noticed.
    async fn survives(mut self, fault: Fault) {
        let name = fault.to_string();
        self.proxy.inject(fault).unwrap();
        self.change();
        // A fault that is never noticed must do no harm either.
        sleep(2 * SILENCE + LIMIT).await;
        self.proxy.heal().unwrap();
        self.settled(&name).await;
        self.server.exit("new/comes", 0).unwrap();
        self.settled(&name).await;
    }
}

#[tokio::test]
async fn a_connection_may_end_after_any_number_of_bytes() {
    for bytes in [0, 1, 9, 30, 100, 300, 1_000, 3_000, 10_000] {
        for fault in [Fault::cut_after(bytes), Fault::reset_after(bytes)] {
            for direction in [Direction::ToClient, Direction::ToEngine] {
                let mut stage = Stage::begin().await;
                let name = fault.to_string();
                stage.proxy.inject(fault.clone().toward(direction).times(3)).unwrap();
                stage.change();
                stage.settled(&name).await;
            }
        }
    }
}

#[tokio::test]
async fn a_connection_may_be_dead_slow_or_silent() {
    for fault in [
        Fault::stall(),
        Fault::stall().toward(Direction::ToClient),
        Fault::stall().toward(Direction::ToEngine),
        Fault::swallow(),
        Fault::black_hole(),
        Fault::delay(Duration::from_millis(20)),
        Fault::drip(7, Duration::from_millis(1)),
    ] {
        Stage::begin().await.survives(fault).await;
    }
}

#[tokio::test]
async fn an_engine_may_be_gone_or_its_socket_replaced() {
    for fault in [
        Fault::refuse(Refusal::Closed),
        Fault::refuse(Refusal::Gone),
        Fault::replace_socket(true),
        Fault::replace_socket(false),
    ] {
        let stage = Stage::begin().await;
        stage.server.disconnect_all();
        stage.survives(fault).await;
    }
}
