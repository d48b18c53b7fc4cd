//! Agents against a model of etcd whose transactions fail, are refused, or are applied without an answer, at
//! once or much later.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use whalewatcher_core::{EngineIdentity, Layer};

use super::ledger::Batch;
use super::machine::{Claim, Machine, Outcome, Step};
use crate::records::{ClaimRecord, EnginePhase, EngineRecord, ExitRecord, HostRecord, Key, Versioned as _};

const HOST: &str = "h";
const ENGINE: &str = "e";

#[derive(Clone, Debug, Default)]
struct Store {
    revision: i64,
    keys: BTreeMap<Key, (Vec<u8>, i64)>,
    claim: Option<Claim>,
    host: Option<(i64, HostRecord)>,
}

/// A transaction, as it was sent.
#[derive(Clone, Debug)]
struct Sent {
    epoch: Option<i64>,
    unchanged_since: i64,
    batch: Batch,
    host: HostRecord,
}

impl Store {
    /// Applies a transaction if its conditions are true; returns the revision.
    fn apply(&mut self, sent: &Sent) -> Option<i64> {
        let written = self.host.as_ref().map_or(0, |(revision, _)| *revision);
        if self.claim.as_ref().map(|claim| claim.epoch) != sent.epoch || written != sent.unchanged_since {
            return None;
        }
        self.revision += 1;
        if sent.epoch.is_none() {
            let record = claim_of(&sent.host);
            self.claim = Some(Claim { epoch: self.revision, lease: 1, term: 1, record });
        }
        self.host = Some((self.revision, sent.host.clone()));
        assert!(sent.batch.len() <= 97, "{}", sent.batch.len());
        let keys: BTreeSet<_> = sent.batch.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), sent.batch.len(), "etcd refuses a transaction that writes a key twice");
        for (key, value) in &sent.batch {
            match value {
                Some(value) => self.keys.insert(key.clone(), (value.to_vec(), self.revision)),
                None => self.keys.remove(key),
            };
        }
        Some(self.revision)
    }

    fn containers(&self) -> BTreeMap<String, Vec<u8>> {
        let containers = self.keys.iter().filter_map(|(key, (value, _))| match key {
            Key::Container { id, .. } => Some((id.clone(), value.clone())),
            _ => None,
        });
        containers.collect()
    }

    fn phase(&self) -> Option<EnginePhase> {
        let key = Key::Engine { host: HOST.into(), engine: ENGINE.into() };
        self.keys.get(&key).map(|(value, _)| EngineRecord::from_json("", value).unwrap().phase)
    }

    fn exits(&self) -> Vec<ExitRecord> {
        let exits = self.keys.iter().filter(|(key, _)| matches!(key, Key::Exit { .. }));
        exits.map(|(_, (value, _))| ExitRecord::from_json("", value).unwrap()).collect()
    }
}

fn claim_of(host: &HostRecord) -> ClaimRecord {
    ClaimRecord {
        agent: host.agent.clone(),
        boot: host.boot.clone(),
        hostname: String::new(),
        address: None,
        version: String::new(),
        since: Timestamp::UNIX_EPOCH,
    }
}

/// A host with one engine, its agent, and etcd.
struct World {
    store: Store,
    machine: Machine,
    agents: u32,
    boots: u32,
    lives: u32,
    alive: BTreeMap<String, Vec<u8>>,
    live: bool,
    /// Transactions without an answer that are not applied yet.
    late: Vec<Sent>,
    /// An older state of the store.
    snapshot: Store,
    was_restored: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            store: Store::default(),
            machine: Machine::new(HOST, host(0, 0)),
            agents: 0,
            boots: 0,
            lives: 0,
            alive: BTreeMap::new(),
            live: false,
            late: Vec::new(),
            snapshot: Store::default(),
            was_restored: false,
        };
        world.begin_agent();
        world
    }

    /// Another agent takes over, with the engine as it is, and not in sync yet.
    fn begin_agent(&mut self) {
        self.agents += 1;
        self.machine = Machine::new(HOST, host(self.agents, self.boots));
        self.live = false;
        self.machine.ledger.add_engine(ENGINE, record(EnginePhase::Connecting));
        for (id, value) in &self.alive {
            self.machine.ledger.set_container(ENGINE, id, value.clone());
        }
    }

    fn start(&mut self, id: &str) {
        self.lives += 1;
        let value = format!("life {}", self.lives).into_bytes();
        self.alive.insert(id.to_owned(), value.clone());
        self.machine.ledger.set_container(ENGINE, id, value);
    }

    fn exit(&mut self, id: &str) {
        if self.alive.remove(id).is_some() {
            self.lives += 1;
            self.machine.ledger.remove_container(ENGINE, id, Some(exit(id, self.lives).to_json()));
        }
    }

    fn set_live(&mut self, live: bool) {
        self.live = live;
        let phase = if live { EnginePhase::Live } else { EnginePhase::Disconnected };
        self.machine.ledger.set_engine(ENGINE, record(phase));
    }

    /// Performs the next step, of which a transaction goes as `fate` says. Returns whether there was one.
    fn step(&mut self, fate: u8) -> bool {
        match self.machine.next() {
            Step::Idle => return false,
            Step::Load => {
                let items = self.store.keys.iter();
                let items = items.map(|(key, (value, revision))| (key.clone(), value.clone(), *revision));
                self.machine.loaded(items.collect(), self.store.host.clone());
            }
            Step::Resolve => self.machine.resolved(self.store.claim.as_ref(), self.store.host.as_ref()),
            Step::Claim { unchanged_since, batch, host } => {
                let sent = Sent { epoch: None, unchanged_since, batch, host };
                match self.send(sent, fate) {
                    Outcome::Refused => {
                        self.machine.claim_refused(self.store.claim.as_ref());
                    }
                    outcome => self.machine.written(outcome),
                }
            }
            Step::Write { epoch, unchanged_since, batch, host } => {
                let outcome = self.send(Sent { epoch: Some(epoch), unchanged_since, batch, host }, fate);
                self.machine.written(outcome);
            }
        }
        true
    }

    fn send(&mut self, sent: Sent, fate: u8) -> Outcome {
        match fate {
            0 => Outcome::Failed,
            1 => Outcome::Unknown,
            2 => {
                self.late.push(sent);
                Outcome::Unknown
            }
            3 => {
                self.apply(&sent);
                Outcome::Unknown
            }
            _ => self.apply(&sent).map_or(Outcome::Refused, Outcome::Applied),
        }
    }

    fn apply(&mut self, sent: &Sent) -> Option<i64> {
        let applied = self.store.apply(sent);
        let is_claim = sent.epoch.is_none();
        if applied.is_some() && is_claim && self.store.phase() == Some(EnginePhase::Live) {
            assert_eq!(self.store.containers(), self.alive, "live in the moment of the claim, and not right");
        }
        applied
    }

    fn act(&mut self, act: u8, which: u8) {
        let id = format!("{}", which % 5);
        match act {
            0..=2 => self.start(&id),
            3..=5 => self.exit(&id),
            6 => self.set_live(!self.live),
            // The lease ends; the agent learns of that, or does not.
            7 => {
                self.store.claim = None;
                self.store.revision += 1;
                if which.is_multiple_of(2) {
                    self.machine.claim_lost();
                }
            }
            8 if !self.late.is_empty() => {
                let sent = self.late.remove(usize::from(which) % self.late.len());
                self.store.apply(&sent);
            }
            9 => {
                // The former agent's claim stays until its lease ends.
                self.begin_agent();
                if which.is_multiple_of(3) {
                    self.store.claim = None;
                }
            }
            10 => {
                self.boots += 1;
                self.alive.clear();
                self.store.claim = None;
                self.begin_agent();
            }
            11 => self.snapshot = self.store.clone(),
            12 => {
                // Requests in flight do not survive that.
                self.late.clear();
                self.store = self.snapshot.clone();
                self.was_restored = true;
            }
            13 => self.machine.verify(),
            _ => {
                self.step(which % 8);
            }
        }
    }

    /// Everything works from now on, until there is nothing to do.
    fn settle(&mut self) {
        self.set_live(true);
        self.machine.verify();
        let mut steps = 0;
        while self.step(7) {
            let is_rivals =
                self.store.claim.as_ref().is_some_and(|claim| claim.record.agent != agent(self.agents));
            if is_rivals {
                self.store.claim = None;
            }
            // A lease that the agent does not know to have ended is noticed with the next transaction.
            steps += 1;
            assert!(steps < 100, "it does not come to rest: {:?}", self.machine);
        }
    }
}

fn agent(number: u32) -> String {
    format!("agent {number}")
}

fn host(number: u32, boot: u32) -> HostRecord {
    HostRecord {
        hostname: String::new(),
        address: None,
        kernel: None,
        boot: format!("boot {boot}"),
        first_seen: Timestamp::UNIX_EPOCH,
        agent: agent(number),
        epoch: 0,
        time: None,
        attempt: 0,
    }
}

fn record(phase: EnginePhase) -> EngineRecord {
    EngineRecord {
        engine: EngineIdentity::new("t", "a"),
        phase,
        since: Timestamp::UNIX_EPOCH,
        error: None,
        layer: Layer::Engine,
        unresolved: 0,
    }
}

fn exit(id: &str, number: u32) -> ExitRecord {
    ExitRecord {
        id: id.into(),
        pid: number,
        started_at: None,
        time: Timestamp::UNIX_EPOCH,
        exit_code: Some(1),
        oom_killed: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn etcd_ends_up_with_what_is_alive_whatever_fails(acts in prop::collection::vec((0..24_u8, any::<u8>()), 0..60)) {
        let mut world = World::new();
        for (act, which) in acts {
            world.act(act, which);
        }
        world.settle();
        prop_assert_eq!(world.store.containers(), world.alive.clone());
        prop_assert_eq!(world.store.phase(), Some(EnginePhase::Live));
        // What was sent long ago changes nothing any more.
        let late = std::mem::take(&mut world.late);
        let applied = late.iter().filter(|sent| world.store.apply(sent).is_some()).count();
        // Where revisions went back, one may be given twice, and the conditions of a late transaction be true
        // by chance: what it did is repaired as soon as the agent looks.
        prop_assert!(applied == 0 || world.was_restored);
        // And the agent goes on.
        world.start("new");
        world.settle();
        prop_assert_eq!(world.store.containers(), world.alive.clone());
    }
}

#[test]
fn an_exit_is_written_with_the_end_of_its_container_and_only_if_that_was_published() {
    let mut world = World::new();
    world.start("a");
    world.settle();
    world.start("b");
    world.exit("b");
    world.settle();
    assert!(world.store.exits().is_empty(), "a life that was never published");
    let before = world.store.revision;
    world.exit("a");
    world.settle();
    assert_eq!((world.store.revision, world.store.exits().len()), (before + 1, 1));
    assert!(world.store.containers().is_empty());
    // Of several lives in one step, the published one has its end.
    world.start("a");
    world.settle();
    world.exit("a");
    world.start("a");
    world.exit("a");
    world.settle();
    assert_eq!(world.store.exits().len(), 2);
}

#[test]
fn the_ring_of_exits_is_bounded_and_the_next_agent_goes_on_in_it() {
    let mut world = World::new();
    for _ in 0..300 {
        world.start("a");
        world.settle();
        world.exit("a");
        world.settle();
    }
    let exits = world.store.exits();
    assert_eq!(exits.len(), 256);
    let newest = exits.iter().map(|exit| exit.pid).max();
    world.store.claim = None;
    world.begin_agent();
    world.start("a");
    world.settle();
    world.exit("a");
    world.settle();
    assert!(
        world.store.exits().iter().any(|exit| Some(exit.pid) == newest),
        "the newest exit is overwritten"
    );
}

#[test]
fn many_containers_take_several_transactions_and_the_engine_is_live_with_the_last() {
    let mut world = World::new();
    for number in 0..250 {
        world.start(&number.to_string());
    }
    world.set_live(true);
    while world.step(7) {
        let is_whole = world.store.containers().len() == 250;
        assert_eq!(world.store.phase() == Some(EnginePhase::Live), is_whole);
    }
    assert!(world.store.revision <= 4, "{}", world.store.revision);
}

#[test]
fn a_container_that_moves_to_another_engine_is_in_etcd_at_each_revision() {
    let mut world = World::new();
    (0..250).for_each(|number| world.start(&number.to_string()));
    world.settle();
    // By the order of their keys, deletions come first.
    let (other, ids) = ("other", world.alive.keys().cloned().collect::<Vec<_>>());
    let ledger = &mut world.machine.ledger;
    ledger.add_engine(other, record(EnginePhase::Connecting));
    ids.iter().for_each(|id| ledger.move_container((ENGINE, id), (other, id), b"moved".to_vec()));
    ledger.set_engine(other, record(EnginePhase::Live));
    let moved = |store: &Store| store.keys.values().filter(|(value, _)| value == b"moved").count();
    let is_live = |store: &Store| {
        let key = Key::Engine { host: HOST.into(), engine: other.into() };
        store.keys.get(&key).is_some_and(|(value, _)| value == &record(EnginePhase::Live).to_json())
    };
    while world.step(7) {
        assert_eq!(world.store.containers().len(), 250);
        assert!(!is_live(&world.store) || moved(&world.store) == 250, "live before it has its containers");
    }
    assert!(is_live(&world.store) && moved(&world.store) == 250);
    let containers = world.store.keys.keys().filter(|key| matches!(key, Key::Container { .. }));
    assert_eq!(containers.count(), 250);
    // Before it is written, it has moved back or ended.
    let ledger = &mut world.machine.ledger;
    ledger.move_container((other, "1"), (ENGINE, "1"), b"back".to_vec());
    ledger.move_container((ENGINE, "1"), (other, "1"), b"moved".to_vec());
    ledger.move_container((other, "2"), (ENGINE, "2"), b"back".to_vec());
    ledger.remove_container(ENGINE, "2", None);
    while world.step(7) {}
    assert_eq!((world.store.containers().len(), moved(&world.store)), (249, 249));
}

#[test]
fn without_a_difference_a_new_claim_is_all_that_is_written() {
    let mut world = World::new();
    world.start("a");
    world.settle();
    let keys = world.store.keys.clone();
    world.store.claim = None;
    world.machine.claim_lost();
    let before = world.store.revision;
    while world.step(7) {}
    assert_eq!((&world.store.keys, world.store.revision), (&keys, before + 1));
}

#[test]
fn containers_of_an_engine_that_was_not_in_sync_yet_stay_and_those_of_a_former_boot_do_not() {
    let mut world = World::new();
    world.start("a");
    world.settle();
    world.store.claim = None;
    world.begin_agent();
    world.machine.ledger.remove_container(ENGINE, "a", None);
    while world.step(7) {}
    assert_eq!(world.store.phase(), Some(EnginePhase::Connecting));
    assert_eq!(world.store.containers().len(), 1, "it may be alive");

    world.act(10, 0);
    while world.step(7) {}
    assert_eq!(world.store.phase(), Some(EnginePhase::Connecting));
    assert!(world.store.containers().is_empty(), "the host was booted since");
}

#[test]
fn an_agent_without_news_writes_the_hosts_record_when_it_is_to_show_itself() {
    let mut world = World::new();
    world.start("a");
    world.settle();
    let (keys, before) = (world.store.keys.clone(), world.store.revision);
    world.machine.show();
    while world.step(7) {}
    assert_eq!((&world.store.keys, world.store.revision), (&keys, before + 1));
    // One that failed is tried again, and one that was applied without an answer is not.
    for (fate, revisions) in [(0, 2), (3, 3)] {
        world.machine.show();
        assert!(world.step(fate));
        while world.step(7) {}
        assert_eq!(world.store.revision, before + revisions);
    }
}

#[test]
fn the_last_words_say_that_nothing_is_watched_and_an_engine_that_left_leaves_nothing() {
    let mut world = World::new();
    world.start("a");
    world.settle();
    world.machine.end(Timestamp::UNIX_EPOCH);
    while world.step(7) {}
    assert_eq!((world.store.phase(), world.store.containers().len()), (Some(EnginePhase::Ended), 1));
    world.machine.ledger.remove_engine(ENGINE);
    while world.step(7) {}
    assert!(world.store.keys.is_empty(), "{:?}", world.store.keys);
}
