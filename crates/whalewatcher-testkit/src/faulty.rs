//! A watched engine behind the proxy: after each fault the portfolio is true, everything announced really happened, and
//! nothing was announced twice. For tests of adapters.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{
    Backoff, Container, Event, EventKind, Portfolio, Settings, Status, StatusFollower, Subscription,
    WatchHandle, watch_with,
};

use crate::proxy::{self, Direction, Fault, FaultId, Proxy, Refusal};
use crate::watched::in_time;

/// No step takes as long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine that can be compared with what a watcher found.
pub trait Subject {
    /// Returns the endpoint.
    fn endpoint(&self) -> String;

    /// Returns all that is alive.
    fn alive(&self) -> Vec<Known>;

    /// Returns what distinguishes a life from all others, or nothing if that is not known of this one.
    fn life(id: &str, pid: u32) -> Option<String> {
        (pid > 0).then(|| format!("{id} {pid}"))
    }
}

/// What is known about a live container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The ID.
    pub id: String,
    /// The name.
    pub name: String,
    /// The PID of the initial process.
    pub pid: u32,
    /// Whether it is paused.
    pub paused: bool,
}

/// An engine, a proxy before it, a watcher of the proxy, and the fold of the events that its subscriber receives.
pub struct Stage<S, C: EngineClient> {
    /// The engine.
    pub server: S,
    /// The proxy.
    pub proxy: Proxy,
    /// The watch.
    pub watching: WatchHandle<C>,
    /// The snapshot of the subscriber, and all events since.
    pub fold: Portfolio,
    status: StatusFollower,
    events: Subscription,
    /// All lives that the engine ever had, and their IDs.
    lives: HashMap<String, String>,
    begun: HashSet<String>,
    ended: HashSet<String>,
}

/// The time limits of a watcher.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an answer may take.
    pub answer: Duration,
    /// After how much silence the event stream is probed.
    pub silence: Duration,
    /// How often the portfolio is audited.
    pub audits: Option<Duration>,
}

impl<S: Subject, C: EngineClient> Stage<S, C> {
    /// Watches an engine through this proxy until all of its containers are known.
    ///
    /// # Panics
    ///
    /// If the proxy cannot listen, or that takes too long.
    pub async fn begin(
        server: S,
        proxy: proxy::Builder,
        client: impl FnOnce(String) -> C,
        limits: Limits,
    ) -> Self {
        let proxy = proxy.upstream(server.endpoint()).start().expect("a proxy");
        let Limits { answer, silence, audits } = limits;
        let settings = Settings::default()
            .with_backoff(Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(10)))
            .with_limits(answer, answer, answer)
            .with_probes(silence, answer)
            .with_audits(audits);
        let watching = watch_with(client(proxy.endpoint()), settings);
        let (fold, events) = watching.subscribe();
        let status = watching.follow_status();
        let (lives, begun, ended) = Default::default();
        let mut stage = Self { server, proxy, watching, status, events, fold, lives, begun, ended };
        stage.drive(|_| ());
        stage.settled().await;
        stage
    }

    /// Injects a fault.
    ///
    /// # Panics
    ///
    /// If the proxy cannot listen afterwards.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.proxy.inject(fault).expect("a proxy that listens")
    }

    /// Changes something at the engine, and remembers all lives that there are after it.
    pub fn drive(&mut self, act: impl FnOnce(&S)) {
        act(&self.server);
        let lives = self.server.alive().into_iter();
        self.lives.extend(lives.filter_map(|known| Some((S::life(&known.id, known.pid)?, known.id))));
    }

    /// Waits until the watcher reports that it is disconnected.
    ///
    /// # Panics
    ///
    /// If that takes too long, or anything else is reported.
    pub async fn until_reported_disconnected(&mut self) {
        let reported = async {
            loop {
                let event = self.events.next().await.expect("the subscription goes on");
                assert!(event.container().is_none(), "nothing has changed: {event}");
                if matches!(event.kind, EventKind::Disconnected { .. }) {
                    return;
                }
            }
        };
        timeout(PATIENCE, reported).await.expect("the fault is detected in time");
    }

    /// Returns the events of containers up to the moment at which the portfolio is true, sorted.
    ///
    /// # Panics
    ///
    /// If that takes too long, or an event is wrong.
    pub async fn settled(&mut self) -> Vec<String> {
        let mut reported = Vec::new();
        let settling = async {
            loop {
                let status = self.status.status();
                let live = status.is_live() && status.unresolved.is_empty();
                if live && self.watching.portfolio() == self.fold && self.is_true() {
                    return;
                }
                tokio::select! {
                    event = self.events.next() => {
                        let event = event.expect("the subscription goes on");
                        self.take(&event);
                        if let Some(container) = event.container() {
                            reported.push(format!("{} {}", event.kind.name(), container.name()));
                        }
                    }
                    _ = self.status.changed() => {}
                }
            }
        };
        if timeout(PATIENCE, settling).await.is_err() {
            let (status, alive) = (self.watching.status(), self.server.alive());
            panic!(
                "does not settle: {status}, reported {reported:?}, alive {alive:?}, {:?}",
                self.proxy.stats()
            );
        }
        reported.sort();
        reported
    }

    /// Whether the fold of all events equals the truth.
    fn is_true(&self) -> bool {
        let alive = self.server.alive();
        alive.len() == self.fold.total()
            && alive.iter().all(|alive| {
                self.fold.by_id(alive.id.as_str()).is_some_and(|known| {
                    (known.pid(), known.paused(), known.name())
                        == (alive.pid, alive.paused, alive.name.as_str())
                })
            })
    }

    /// Checks that an event has happened and was not reported before.
    fn take(&mut self, event: &Event) {
        self.fold.apply(&event.kind);
        let Some(container) = event.container() else { return };
        assert!(self.lives.values().any(|id| **id == **container.id()), "there never was one: {event}");
        let life = |container: &Container| S::life(container.id(), container.pid());
        let Some(life_of_event) = life(container) else { return };
        match &event.kind {
            EventKind::Started(_) => {
                assert!(self.lives.contains_key(&life_of_event), "this life never existed: {event}");
                assert!(self.begun.insert(life_of_event), "reported again: {event}");
            }
            EventKind::Exited { .. } => {
                assert!(self.begun.contains(&life_of_event), "never begun: {event}");
                let alive = |alive: &Known| S::life(&alive.id, alive.pid).as_ref() == Some(&life_of_event);
                assert!(!self.server.alive().iter().any(alive), "still alive: {event}");
                assert!(self.ended.insert(life_of_event), "reported again: {event}");
            }
            _ => {
                let is_alive = self.begun.contains(&life_of_event) && !self.ended.contains(&life_of_event);
                assert!(is_alive, "not alive: {event}");
            }
        }
    }
}

#[cfg(feature = "docker")]
impl Subject for crate::docker::Server {
    fn endpoint(&self) -> String {
        self.endpoint()
    }

    fn alive(&self) -> Vec<Known> {
        let known = |alive: crate::docker::Alive| Known {
            id: alive.id,
            name: alive.name,
            pid: alive.pid,
            paused: alive.paused,
        };
        self.truth().into_iter().map(known).collect()
    }
}

#[cfg(feature = "containerd")]
impl Subject for crate::containerd::Server {
    fn endpoint(&self) -> String {
        self.endpoint()
    }

    fn alive(&self) -> Vec<Known> {
        let known = |alive: crate::containerd::Alive| Known {
            id: alive.key,
            name: alive.name,
            pid: alive.pid,
            paused: alive.paused,
        };
        self.truth().into_iter().map(known).collect()
    }
}

#[cfg(feature = "cri")]
impl Subject for crate::cri::Server {
    fn endpoint(&self) -> String {
        self.endpoint()
    }

    fn alive(&self) -> Vec<Known> {
        let known = |alive: crate::cri::Alive| Known {
            id: alive.id,
            name: alive.name,
            pid: alive.pid,
            paused: false,
        };
        self.truth().into_iter().map(known).collect()
    }

    /// Each ID has one life.
    fn life(id: &str, _: u32) -> Option<String> {
        Some(id.to_owned())
    }
}

/// Checks that a watch is live again after each of three outages although its back-off takes an hour: an
/// engine whose socket is bound again is connected to at once.
///
/// # Panics
///
/// If it is not.
pub async fn outages_end_at_once<C: EngineClient>(client: C, stop: impl AsyncFn(), listen_again: impl Fn()) {
    let hour = Duration::from_secs(3600);
    let settings = Settings::default().with_backoff(Backoff::default().with_delays(hour, hour));
    let watching = watch_with(client, settings);
    let mut status = watching.follow_status();
    for outage in 0..=3 {
        if outage > 0 {
            stop().await;
            in_time(status.wait_for(|status| !status.is_live())).await.expect("a watcher");
            listen_again();
        }
        in_time(status.wait_for(Status::is_live)).await.expect("a watcher");
    }
}

/// Connections that end after a number of bytes, a few times.
pub fn cuts() -> impl Iterator<Item = Fault> {
    let bytes = [0, 1, 9, 30, 100, 300, 1_000, 3_000, 10_000];
    let faults = bytes.into_iter().flat_map(|bytes| [Fault::cut_after(bytes), Fault::reset_after(bytes)]);
    let directions = [Direction::ToClient, Direction::ToEngine];
    faults.flat_map(move |fault| directions.map(|direction| fault.clone().toward(direction).times(3)))
}

/// Connections that are dead, slow or silent, until they are healed.
pub fn silences() -> [Fault; 7] {
    [
        Fault::stall(),
        Fault::stall().toward(Direction::ToClient),
        Fault::stall().toward(Direction::ToEngine),
        Fault::swallow(),
        Fault::black_hole(),
        Fault::delay(Duration::from_millis(20)),
        Fault::drip(7, Duration::from_millis(1)),
    ]
}

/// An engine that is gone, until that is healed, or a socket that is replaced.
pub fn absences() -> [Fault; 4] {
    [
        Fault::refuse(Refusal::Closed),
        Fault::refuse(Refusal::Gone),
        Fault::replace_socket(true),
        Fault::replace_socket(false),
    ]
}
