//! Faults of every kind between a watcher and its engine, one after the other, at random or from a script.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use tokio::time::{sleep, timeout};
use whalewatcher_core::Counters;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_testkit::proxy::{Family, Fault, FaultKind, Proxy, RandomFaults};

use crate::random_steps::{RandomSteps, Steps};
use crate::watched::Watched;

/// Names a file with the script of a run whose faults are to be repeated; when they hit differs all the same.
const SCRIPT: &str = "WHALEWATCHER_FAULTS";

/// How many gusts are kept for the script.
const KEPT: usize = 1000;

/// After how many audits all drift of a dropped event is repaired: other faults hit up to three audits each,
/// and what one finds is repaired a second later.
const AUDITS: u64 = 12;

/// After how many times that it got in sync: what it found out for the first one may be older than the event.
const SYNCS: usize = 2;

/// How long a fault is waited for to have an effect.
const EFFECT_LIMIT: Duration = Duration::from_millis(500);

/// How long one that needs an event of some kind is waited for.
const EVENT_LIMIT: Duration = Duration::from_secs(3);

/// What connections speak, and so what can go wrong on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// As Docker does: everything.
    Http1,
    /// As gRPC does: what concerns connections as a whole, for the proxy does not read it. Nor has it
    /// checksums by which replaced bytes would show.
    Http2,
}

impl Protocol {
    fn families(self) -> &'static [Family] {
        match self {
            Protocol::Http1 => &Family::ALL,
            Protocol::Http2 => &[
                Family::Cut,
                Family::Stall,
                Family::Swallow,
                Family::BlackHole,
                Family::Delay,
                Family::Drip,
                Family::Truncate,
                Family::Refuse,
                Family::ReplaceSocket,
            ],
        }
    }

    /// What makes the faults of one kind.
    fn faults(self, family: Family, seed: u64) -> RandomFaults {
        let weigh = |faults: RandomFaults, other| faults.weight(other, u32::from(other == family));
        let faults = Family::ALL.into_iter().fold(RandomFaults::new(seed), weigh);
        match self {
            Protocol::Http1 => faults,
            Protocol::Http2 => faults.requests([""; 0]),
        }
    }
}

/// A fault, and how it is brought about. It prints as a line of the script.
#[derive(Clone, Debug, PartialEq)]
struct Gust {
    /// For how long it stays once it has had an effect.
    hold: Duration,
    /// Whether all connections are cut, so that it concerns how they are made again.
    cut: bool,
    fault: Fault,
}

impl Gust {
    fn effect_limit(&self) -> Duration {
        match self.fault.kind() {
            FaultKind::DropEvents(_) | FaultKind::RepeatEvents(_) | FaultKind::DelayEvents(_) => EVENT_LIMIT,
            _ => EFFECT_LIMIT,
        }
    }
}

impl fmt::Display for Gust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.hold.as_millis(), if self.cut { "cut" } else { "-" }, self.fault)
    }
}

impl FromStr for Gust {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Gust> {
        let parse = || {
            let (hold, rest) = line.split_once(' ').context("no time to hold it")?;
            let (cut, fault) = rest.split_once(' ').context("no fault")?;
            let hold = Duration::from_millis(hold.parse()?);
            anyhow::Ok(Gust { hold, cut: cut == "cut", fault: fault.parse()? })
        };
        parse().with_context(|| format!("'{line}' is no line of a script of faults"))
    }
}

/// Where the gusts come from.
enum Source {
    Random {
        random: Rng,
        protocol: Protocol,
        /// What makes the faults of each kind.
        kinds: Vec<(Family, RandomFaults)>,
        /// Which kinds are still to come before all come again.
        deck: VecDeque<Kind>,
    },
    Script(VecDeque<Gust>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One of the proxy's.
    Family(Family),
    /// The event stream goes silent, and all else works.
    SilentStream,
}

/// How often the picture was compared with the engine.
#[derive(Clone, Copy, Debug)]
struct Compared {
    audits: u64,
    synced: usize,
}

impl Compared {
    fn by<C: EngineClient>(watched: &Watched<C>) -> Compared {
        let Counters { audits, .. } = watched.watching.status().counters;
        Compared { audits, synced: watched.recorder().record().synced() }
    }

    fn is_repaired_by(self, now: Compared) -> bool {
        now.audits >= self.audits + AUDITS || now.synced >= self.synced + SYNCS
    }
}

/// Brings about one fault after the other.
pub(crate) struct FaultInjector {
    source: Source,
    script: VecDeque<Gust>,
    gusts: usize,
    hits: usize,
    /// How much had been compared when an event was dropped, unless all is known to be repaired.
    dropped_at: Option<Compared>,
}

impl FaultInjector {
    pub(crate) fn new(seed: u64, protocol: Protocol) -> Result<FaultInjector> {
        let source = match std::env::var_os(SCRIPT) {
            Some(path) => {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                Source::Script(lines.map(str::parse).collect::<Result<_>>()?)
            }
            None => {
                let families = protocol.families().iter().zip(seed..);
                let kinds =
                    families.map(|(family, seed)| (*family, protocol.faults(*family, seed))).collect();
                Source::Random { random: Rng::with_seed(seed), protocol, kinds, deck: VecDeque::new() }
            }
        };
        Ok(FaultInjector { source, script: VecDeque::new(), gusts: 0, hits: 0, dropped_at: None })
    }

    /// How many faults there were.
    pub(crate) fn gusts(&self) -> usize {
        self.gusts
    }

    /// How many of them had an effect.
    pub(crate) fn hits(&self) -> usize {
        self.hits
    }

    /// The faults so far, a line each.
    pub(crate) fn script(&self) -> String {
        self.script.iter().map(|gust| format!("\n{gust}")).collect()
    }

    /// Brings about the next fault and takes it back after a while; what it did stays done. After the end of a script
    /// there is none.
    async fn blow<C: EngineClient>(&mut self, proxy: &Proxy, watched: &Watched<C>) -> Result<()> {
        let may_drop = self.dropped_at.is_none_or(|at| at.is_repaired_by(Compared::by(watched)));
        let Some(gust) = self.source.next(may_drop) else { return Ok(()) };
        tracing::debug!(%gust);
        self.gusts += 1;
        if self.script.len() == KEPT {
            self.script.pop_front();
        }
        self.script.push_back(gust.clone());
        let id = proxy.inject(gust.fault.clone())?;
        if gust.cut {
            proxy.cut_all();
        }
        self.hits += usize::from(timeout(gust.effect_limit(), proxy.until_hit(id, 1)).await.is_ok());
        // How long it lasts is part of the fault.
        sleep(gust.hold).await;
        proxy.lift(id)?;
        if matches!(gust.fault.kind(), FaultKind::DropEvents(_)) {
            self.dropped_at = Some(Compared::by(watched));
        }
        Ok(())
    }

    /// Brings about so many faults, each after so many transitions at least; calls `after` with the number of each.
    pub(crate) async fn play<C: EngineClient, S: Steps>(
        &mut self,
        proxy: &Proxy,
        watched: &Watched<C>,
        churn: &RandomSteps<S>,
        (faults, transitions_per_fault): (usize, usize),
        mut after: impl FnMut(usize),
    ) -> Result<()> {
        for number in 1..=faults {
            let transitions = churn.transitions();
            self.blow(proxy, watched).await?;
            after(number);
            churn.until_transitions(transitions + transitions_per_fault).await;
        }
        Ok(())
    }

    /// The picture was found to be right.
    pub(crate) fn set_repaired(&mut self) {
        self.dropped_at = None;
    }
}

impl Source {
    fn next(&mut self, may_drop: bool) -> Option<Gust> {
        let (random, protocol, kinds, deck) = match self {
            Source::Script(gusts) => return gusts.pop_front(),
            Source::Random { random, protocol, kinds, deck } => (random, *protocol, kinds, deck),
        };
        let is_drop = |kind: &Kind| *kind == Kind::Family(Family::DropEvents);
        if deck.iter().all(is_drop) {
            let mut all: Vec<Kind> = kinds.iter().map(|(family, _)| Kind::Family(*family)).collect();
            all.extend((protocol == Protocol::Http1).then_some(Kind::SilentStream));
            // Each time one of some kind, so more of them.
            all.extend(all.iter().copied().filter(is_drop).collect::<Vec<_>>().repeat(2));
            random.shuffle(&mut all);
            deck.extend(all);
        }
        // If both events of a restart are lost, nothing may show it: single events are dropped, with repair in between.
        let at = deck.iter().position(|kind| may_drop || !is_drop(kind))?;
        let kind = deck.remove(at)?;
        let mut fault = match kind {
            Kind::Family(family) => kinds.iter_mut().find(|(of, _)| *of == family)?.1.next_fault(),
            Kind::SilentStream => Fault::stall().on_requests("/events").times(1),
        };
        if is_drop(&kind) {
            let of = ["", "\"die\"", "\"start\"", "\"pause\"", "\"unpause\"", "\"rename\""];
            fault = Fault::drop_events(of[random.usize(..of.len())]).times(1);
        }
        let hold = match fault.kind() {
            // Long enough to be noticed, often.
            FaultKind::Stall { swallow: false } => random.u64(50..2500),
            FaultKind::BlackHole | FaultKind::Refuse(_) => random.u64(20..1000),
            FaultKind::Delay(_) | FaultKind::Drip { .. } => random.u64(20..500),
            _ => random.u64(0..50),
        };
        let requests = fault.to_string();
        let is_of_connecting = ["requests=/events", "/_ping", "/version", "/info", "/containers/json"];
        let is_of_connecting = is_of_connecting.iter().any(|part| requests.contains(part));
        let is_of_events = requests.contains("-events");
        let is_for_new = matches!(
            fault.kind(),
            FaultKind::BlackHole | FaultKind::Refuse(_) | FaultKind::ReplaceSocket { .. }
        );
        let cut = !is_of_events && (is_of_connecting || is_for_new || random.u8(..4) == 0);
        Some(Gust { hold: Duration::from_millis(hold), cut, fault })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Returns the word for the kind of a fault.
    fn word(fault: &Fault) -> String {
        let kind = &serde_json::from_str::<Value>(&fault.to_string()).unwrap()["kind"];
        match fault.kind() {
            FaultKind::Stall { swallow: true } => "swallow".to_owned(),
            _ => kind.as_str().unwrap_or_else(|| kind.as_object().unwrap().keys().next().unwrap()).to_owned(),
        }
    }

    #[test]
    fn every_kind_comes_and_the_script_repeats_them() {
        let mut injector = FaultInjector::new(7, Protocol::Http1).unwrap();
        let gusts: Vec<Gust> = (0..51).filter_map(|_| injector.source.next(true)).collect();
        for gust in &gusts {
            assert_eq!(gust.to_string().parse::<Gust>().unwrap(), *gust);
        }
        let words: BTreeSet<_> = gusts.iter().map(|gust| word(&gust.fault)).collect();
        let all = [
            "answer",
            "black-hole",
            "corrupt",
            "cut",
            "delay",
            "delay-events",
            "drip",
            "drop-events",
            "refuse",
            "repeat-events",
            "replace-socket",
            "stall",
            "swallow",
            "truncate",
        ];
        assert!(words.iter().eq(all), "{words:?}");
        assert!(gusts.iter().any(|gust| gust.fault == Fault::stall().on_requests("/events").times(1)));
    }

    #[test]
    fn to_what_is_not_read_only_that_happens_which_concerns_whole_connections() {
        let mut injector = FaultInjector::new(5, Protocol::Http2).unwrap();
        let mut seen = BTreeSet::new();
        for gust in (0..200).map(|_| injector.source.next(true).unwrap()) {
            assert!(!gust.to_string().contains("requests"), "{gust}");
            seen.insert(word(&gust.fault));
        }
        let all = [
            "black-hole",
            "cut",
            "delay",
            "drip",
            "refuse",
            "replace-socket",
            "stall",
            "swallow",
            "truncate",
        ];
        assert!(seen.iter().eq(all), "{seen:?}");
    }

    #[test]
    fn a_script_is_played_in_order_and_then_there_is_none() {
        let lines = [format!("12 cut {}", Fault::stall()), format!("0 - {}", Fault::reset_after(3).times(1))];
        let gusts = lines.map(|line| line.parse::<Gust>().unwrap());
        let mut source = Source::Script(gusts.to_vec().into());
        assert_eq!(source.next(false), Some(gusts[0].clone()));
        assert_eq!(source.next(false), Some(gusts[1].clone()));
        assert_eq!(source.next(false), None);
    }

    #[test]
    fn what_is_no_line_of_a_script_is_refused() {
        let soon = format!("soon cut {}", Fault::stall());
        for line in ["", "12", "12 cut", &soon, r#"12 cut {"kind":"earthquake"}"#, "12 cut stall"] {
            let refused = line.parse::<Gust>().unwrap_err();
            assert!(format!("{refused:#}").starts_with(&format!("'{line}' is no line")), "{refused:#}");
        }
    }

    #[test]
    fn while_an_event_that_was_dropped_may_still_be_missing_none_is_dropped() {
        let mut injector = FaultInjector::new(3, Protocol::Http1).unwrap();
        for _ in 0..200 {
            let gust = injector.source.next(false).unwrap();
            assert!(!matches!(gust.fault.kind(), FaultKind::DropEvents(_)), "{gust}");
        }
    }
}
