//! The mirror against a store that is as simple as possible: whatever lists and watches bring, what is
//! mirrored is what the store holds, and what is reported of each engine adds up to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use jiff::Timestamp;
use proptest::prelude::*;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{Container, EngineIdentity, Layer};

use super::*;
use crate::records::{ClaimRecord, ContainerRecord, EnginePhase, EngineRecord, ExitRecord};

pub(crate) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// A store, with all that happened to it since it was compacted.
#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) revision: i64,
    keys: BTreeMap<Key, Item>,
    pub(crate) log: Vec<(i64, Vec<Change>)>,
}

impl Store {
    pub(crate) fn commit(&mut self, changes: Vec<(Key, Option<Record>)>) {
        let revision = self.revision + 1;
        let mut reported = Vec::new();
        for (key, record) in changes {
            match record {
                Some(record) => {
                    let item = Item { key: key.clone(), modified: revision, record: Ok(record) };
                    self.keys.insert(key, item.clone());
                    reported.push(Change::Put(Box::new(item)));
                }
                None if self.keys.remove(&key).is_some() => reported.push(Change::Deleted(key)),
                None => {}
            }
        }
        // What changes nothing is no revision.
        if !reported.is_empty() {
            self.revision = revision;
            self.log.push((revision, reported));
        }
    }

    pub(crate) fn listed(&self) -> Vec<Item> {
        self.keys.values().cloned().collect()
    }

    fn container(&self, key: &Key) -> Option<Container> {
        match &self.keys.get(key)?.record {
            Ok(Record::Container(it)) => Some(it.container.clone()),
            _ => None,
        }
    }
}

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// A container of a host's engine is started with this PID, or paused or thawed if that is its PID already.
    Run(u8, u8, u8, u32),
    /// It ends, and its exit is published with it.
    End(u8, u8, u8),
    Claim(u8),
    Unclaim(u8),
    Engine(u8, u8, bool),
    Forget(u8, u8),
    /// The watch delivers so many revisions.
    Deliver(usize),
    /// The watch omits the deletes of the next revision, and an audit follows.
    Omit,
    Relist,
    Save,
    Restore,
}

fn any_step() -> impl Strategy<Value = Step> {
    let (host, engine, id) = (|| 0..2_u8, || 0..2_u8, || 0..3_u8);
    prop_oneof![
        6 => (host(), engine(), id(), 1..4_u32).prop_map(|(h, e, id, pid)| Step::Run(h, e, id, pid)),
        4 => (host(), engine(), id()).prop_map(|(h, e, id)| Step::End(h, e, id)),
        2 => host().prop_map(Step::Claim),
        2 => host().prop_map(Step::Unclaim),
        2 => (host(), engine(), any::<bool>()).prop_map(|(h, e, live)| Step::Engine(h, e, live)),
        1 => (host(), engine()).prop_map(|(h, e)| Step::Forget(h, e)),
        4 => (1..5_usize).prop_map(Step::Deliver),
        1 => Just(Step::Omit),
        1 => Just(Step::Relist),
        1 => Just(Step::Save),
        1 => Just(Step::Restore),
    ]
}

pub(crate) fn container_key(host: u8, engine: u8, id: u8) -> Key {
    Key::Container { host: host.to_string(), engine: engine.to_string(), id: id.to_string() }
}

pub(crate) fn claim_key(host: u8) -> Key {
    Key::Claim { host: host.to_string() }
}

pub(crate) fn engine_key(host: u8, engine: u8) -> Key {
    Key::Engine { host: host.to_string(), engine: engine.to_string() }
}

pub(crate) fn claim() -> Record {
    let text = || "a".to_owned();
    Record::Claim(ClaimRecord {
        agent: text(),
        boot: text(),
        hostname: text(),
        address: None,
        version: text(),
        since: Timestamp::UNIX_EPOCH,
    })
}

pub(crate) fn engine(is_live: bool) -> Record {
    Record::Engine(EngineRecord {
        engine: EngineIdentity::new("docker.com", "unix:///run/docker.sock"),
        phase: if is_live { EnginePhase::Live } else { EnginePhase::Disconnected },
        since: Timestamp::UNIX_EPOCH,
        error: None,
        layer: Layer::Engine,
        unresolved: 0,
    })
}

/// The code with which a life ends.
fn code_of(container: &Container) -> i32 {
    i32::try_from(container.pid()).unwrap()
}

pub(crate) fn exit(container: &Container) -> Record {
    Record::Exit(ExitRecord {
        id: container.id().clone(),
        pid: container.pid(),
        started_at: None,
        time: Timestamp::UNIX_EPOCH,
        exit_code: Some(code_of(container)),
        oom_killed: false,
    })
}

/// Returns the containers that the mirror has of an engine.
fn mirrored(mirror: &Mirror, name: &EngineName) -> BTreeMap<String, Container> {
    let containers = &mirror.hosts()[&name.host].engines[&name.engine].containers;
    containers.iter().map(|(id, it)| (id.to_string(), it.value.clone().unwrap())).collect()
}

/// The mirror, and what its effects add up to.
#[derive(Default)]
struct Consumer {
    mirror: Mirror,
    published: BTreeSet<EngineName>,
    live: BTreeSet<EngineName>,
    containers: BTreeMap<EngineName, BTreeMap<String, Container>>,
    drift: usize,
}

impl Consumer {
    /// Folds what was reported, and checks that it is what the mirror holds.
    fn fold(&mut self) {
        for effect in self.mirror.take_effects() {
            match effect {
                Effect::Joined(name) => {
                    assert!(self.published.insert(name.clone()), "joined twice");
                    self.relink(&name);
                    // Its watcher lists.
                    self.containers.insert(name.clone(), mirrored(&self.mirror, &name));
                }
                Effect::Left(name) => {
                    assert!(self.published.remove(&name), "left without having joined");
                    self.live.remove(&name);
                    self.containers.remove(&name);
                }
                Effect::Link(name) => self.relink(&name),
                Effect::Drift(drift) => self.drift += drift,
                Effect::Event(name, event) if self.published.contains(&name) => self.fold_event(&name, event),
                Effect::Event(..) => {}
            }
        }
        let hosts = self.mirror.hosts();
        let all = hosts.iter().flat_map(|(id, host)| {
            host.engines.iter().map(move |(engine, mirrored)| (EngineName::new(id, engine), host, mirrored))
        });
        for (name, host, engine) in all {
            let is_live = engine.is_published() && host.link(&name.host, engine) == Link::Live;
            assert_eq!(self.live.contains(&name), is_live, "of {name:?}");
            if engine.is_published() {
                let reported = self.containers.get(&name).cloned().unwrap_or_default();
                assert_eq!(
                    reported,
                    mirrored(&self.mirror, &name),
                    "of {name:?} was reported what is not mirrored"
                );
            }
        }
    }

    fn relink(&mut self, name: &EngineName) {
        let link = self.mirror.engine(name).map(|(host, engine)| host.link(&name.host, engine));
        let _ =
            if link == Some(Link::Live) { self.live.insert(name.clone()) } else { self.live.remove(name) };
    }

    fn fold_event(&mut self, name: &EngineName, event: EngineEvent) {
        let containers = self.containers.entry(name.clone()).or_default();
        match event {
            EngineEvent::Started { id, preview, .. } => {
                let started = containers.insert(id.to_string(), *preview.unwrap());
                assert_eq!(started, None, "a life started in another one");
            }
            EngineEvent::Exited { id, pid, code, .. } => {
                let ended = containers.remove(id.as_str()).expect("what exits was alive");
                assert_eq!(Some(ended.pid()), pid, "another life exited");
                assert!(code.is_none_or(|code| code == code_of(&ended)), "another life's code");
            }
            EngineEvent::Changed { id, .. } => {
                let now = self.mirror.hosts()[&name.host].engines[&name.engine].containers.get(id.as_str());
                let now = now.map(|it| it.value.clone().unwrap());
                assert!(containers.contains_key(id.as_str()), "what changes was alive");
                if let Some(now) = now {
                    containers.insert(id.to_string(), now);
                }
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// Delivers the next revision, with or without its deletes.
    fn deliver(&mut self, store: &Store, omits: bool) -> bool {
        let next = store.log.iter().find(|(revision, _)| *revision > self.mirror.revision());
        let Some((revision, changes)) = next.cloned() else { return false };
        let about_claims = changes.iter().all(|change| matches!(change.key(), Key::Claim { .. }));
        let is_omitted = |change: &Change| omits && matches!(change, Change::Deleted(_));
        let changes = changes.into_iter().filter(|change| !is_omitted(change)).collect();
        self.mirror.apply(revision, changes, NOW);
        if about_claims {
            let events = self.mirror.effects.iter().filter(|effect| matches!(effect, Effect::Event(..)));
            assert_eq!(events.count(), 0, "a claim is no container");
        }
        self.fold();
        true
    }

    fn relist(&mut self, store: &Store) {
        self.mirror.replace(store.revision, store.listed(), NOW);
        self.fold();
    }

    fn audit(&mut self, store: &Store) -> usize {
        self.drift = 0;
        self.mirror.begin_audit();
        let keys = store.keys.iter().map(|(key, item)| (key.clone(), item.modified)).collect();
        self.mirror.end_audit(store.revision, keys);
        while self.deliver(store, false) {}
        self.fold();
        self.drift
    }
}

fn play(steps: Vec<Step>) {
    let (mut store, mut consumer) = (Store::default(), Consumer::default());
    let mut saved = store.clone();
    let mut slot = 0_u8;
    for step in steps {
        match step {
            Step::Run(host, engine, id, pid) => {
                let key = container_key(host, engine, id);
                let before = store.container(&key);
                let is_paused = before.as_ref().is_some_and(|it| it.pid() == pid && !it.paused());
                let container = Container::new(id.to_string(), "name", pid).with_paused(is_paused);
                let ended = before.filter(|it| it.pid() != pid);
                let ring = Key::Exit { host: host.to_string(), engine: engine.to_string(), slot };
                slot = slot.wrapping_add(1) % 4;
                let exit = ended.map(|it| (ring, Some(exit(&it))));
                let put = (key, Some(Record::Container(ContainerRecord { container })));
                store.commit(exit.into_iter().chain([put]).collect());
            }
            Step::End(host, engine, id) => {
                let key = container_key(host, engine, id);
                let ring = Key::Exit { host: host.to_string(), engine: engine.to_string(), slot };
                slot = slot.wrapping_add(1) % 4;
                if let Some(container) = store.container(&key) {
                    store.commit(vec![(key, None), (ring, Some(exit(&container)))]);
                }
            }
            Step::Claim(host) => store.commit(vec![(claim_key(host), Some(claim()))]),
            Step::Unclaim(host) => store.commit(vec![(claim_key(host), None)]),
            Step::Engine(host, name, live) => {
                store.commit(vec![(engine_key(host, name), Some(engine(live)))]);
            }
            Step::Forget(host, engine) => store.commit(vec![(engine_key(host, engine), None)]),
            Step::Deliver(count) => drop((0..count).take_while(|_| consumer.deliver(&store, false)).count()),
            Step::Omit => {
                consumer.deliver(&store, true);
                if consumer.audit(&store) > 0 {
                    consumer.relist(&store);
                }
                consumer.is_right(&store);
            }
            Step::Relist => consumer.relist(&store),
            Step::Save => saved = store.clone(),
            Step::Restore => {
                store = saved.clone();
                consumer.relist(&store);
            }
        }
    }
    while consumer.deliver(&store, false) {}
    assert_eq!(consumer.audit(&store), 0, "an audit found what is not missing");
    consumer.is_right(&store);
}

impl Consumer {
    /// Checks that the mirror holds what the store holds, and nothing else but lives that moved and go on.
    fn is_right(&self, store: &Store) {
        let mut mirrored = BTreeMap::new();
        for (id, host) in self.mirror.hosts() {
            host.for_each_key(id, |key, modified| {
                mirrored.insert(key, modified);
            });
        }
        let stored: BTreeMap<_, _> =
            store.keys.iter().map(|(key, item)| (key.clone(), item.modified)).collect();
        assert_eq!(mirrored, stored);
        for (id, host) in self.mirror.hosts() {
            let all =
                host.engines.iter().flat_map(|(engine, it)| it.containers.iter().map(move |it| (engine, it)));
            for (engine, (container, it)) in all.filter(|(_, (_, it))| !it.is_stored()) {
                let pid = it.value.as_ref().unwrap().pid();
                let goes_on = |(key, _): (&Key, _)| {
                    let is_it = matches!(key, Key::Container { host, engine: other, id: one }
                        if **host == **id && **other != **engine && **one == **container);
                    is_it && store.container(key).is_some_and(|container| container.pid() == pid)
                };
                assert!(store.keys.iter().any(goes_on), "{container} has ended, and {engine} has it");
            }
        }
        for (key, item) in &store.keys {
            let Ok(Record::Container(it)) = &item.record else { continue };
            let Key::Container { host, engine, id } = key else { continue };
            let engine = &self.mirror.hosts()[&**host].engines[&**engine];
            assert_eq!(engine.containers.get(&**id).map(|it| &it.value), Some(&Ok(it.container.clone())));
        }
    }
}

proptest! {
    #[test]
    fn whatever_lists_and_watches_bring_the_mirror_is_the_store(
        steps in proptest::collection::vec(any_step(), 0..60)
    ) {
        play(steps);
    }
}

#[test]
fn an_omitted_delete_is_found_by_the_audit() {
    let (mut store, mut consumer) = (Store::default(), Consumer::default());
    consumer.relist(&store);
    let container = Container::new("0", "web", 7);
    let key = container_key(0, 0, 0);
    store.commit(vec![(key.clone(), Some(Record::Container(ContainerRecord { container })))]);
    store.commit(vec![(key, None)]);
    assert!(consumer.deliver(&store, false) && consumer.deliver(&store, true));
    assert_eq!(consumer.audit(&store), 1);
}

#[test]
fn a_value_that_cannot_be_read_hides_no_other_one_and_is_no_exit() {
    let mut consumer = Consumer::default();
    let key = |id| container_key(0, 0, id);
    let item = |id: u8, record| Item { key: key(id), modified: 1, record };
    let container = |id: u8| Container::new(id.to_string(), "web", 7);
    let good = |id| Ok(Record::Container(ContainerRecord { container: container(id) }));
    let published = Item { key: engine_key(0, 0), modified: 1, record: Ok(engine(true)) };
    consumer.mirror.replace(1, vec![published, item(0, good(0)), item(1, good(1))], NOW);
    consumer.fold();
    let bad = RecordError::new("key", "odd");
    consumer.mirror.apply(2, vec![Change::Put(Box::new(item(0, Err(bad))))], NOW);
    let name = EngineName::new("0", "0");
    let touched = EngineEvent::Touched { id: "0".into(), at: None };
    assert_eq!(consumer.mirror.take_effects(), [Effect::Event(name, touched)]);
}

#[test]
fn an_engine_is_live_while_its_host_is_claimed_and_its_agent_says_so() {
    let (mut store, mut consumer) = (Store::default(), Consumer::default());
    let link = |consumer: &Consumer| {
        let (host, engine) = consumer.mirror.engine(&EngineName::new("0", "0")).unwrap();
        host.link("0", engine)
    };
    let reason = |consumer: &Consumer| match link(consumer) {
        Link::Live => String::new(),
        Link::Down(error) => error.to_string(),
    };
    store.commit(vec![(claim_key(0), Some(claim()))]);
    store.commit(vec![(engine_key(0, 0), Some(engine(true)))]);
    consumer.relist(&store);
    assert_eq!(link(&consumer), Link::Live);
    store.commit(vec![(claim_key(0), None)]);
    assert!(consumer.deliver(&store, false));
    assert_eq!(
        reason(&consumer),
        "host 0 has not published anything since 1970-01-01T00:00:00Z: it is down, or cannot reach etcd"
    );
    // A program that begins now does not know since when.
    let mut late = Consumer::default();
    late.relist(&store);
    assert_eq!(reason(&late), "host 0 is silent: it is down, or cannot reach etcd");
    // The next agent marks what it does not know yet.
    store.commit(vec![(claim_key(0), Some(claim())), (engine_key(0, 0), Some(engine(false)))]);
    assert!(consumer.deliver(&store, false));
    assert!(
        reason(&consumer).starts_with("host a: the engine cannot be reached since"),
        "{}",
        reason(&consumer)
    );
    store.commit(vec![(engine_key(0, 0), Some(engine(true)))]);
    assert!(consumer.deliver(&store, false));
    assert_eq!(link(&consumer), Link::Live);
    // And nothing if it knows that nothing has changed.
    store.commit(vec![(claim_key(0), None)]);
    store.commit(vec![(claim_key(0), Some(claim()))]);
    assert!(consumer.deliver(&store, false) && consumer.deliver(&store, false));
    assert_eq!(link(&consumer), Link::Live);
    // An agent that ends says so, also to a program that begins later.
    let Record::Engine(mut ended) = engine(false) else { unreachable!() };
    (ended.phase, ended.error) = (EnginePhase::Ended, Some("the agent has ended".to_owned()));
    store.commit(vec![(engine_key(0, 0), Some(Record::Engine(ended)))]);
    store.commit(vec![(claim_key(0), None)]);
    late.relist(&store);
    let expected = "the engine is not watched any more since 1970-01-01T00:00:00Z: the agent has ended";
    assert!(reason(&late).ends_with(expected), "{}", reason(&late));
}

#[test]
fn values_that_cannot_be_read_cost_what_they_say_and_nothing_else() {
    let mut consumer = Consumer::default();
    let item = |key, record| Item { key, modified: 1, record };
    let put = |key, record| Change::Put(Box::new(item(key, record)));
    let bad = || Err(RecordError::new("key", "odd"));
    let container = Container::new("0", "web", 7);
    let good = Ok(Record::Container(ContainerRecord { container }));
    let items = vec![
        item(claim_key(0), bad()),
        item(engine_key(0, 0), Ok(engine(true))),
        item(engine_key(0, 1), bad()),
        item(container_key(0, 0, 0), good),
    ];
    consumer.mirror.replace(1, items, NOW);
    consumer.fold();
    let name = EngineName::new("0", "0");
    assert_eq!(consumer.mirror.hosts()["0"].name("0"), "0");
    assert_eq!(consumer.live, BTreeSet::from([name.clone()]));
    assert_eq!(consumer.published, BTreeSet::from([name.clone()]));

    consumer.mirror.apply(2, vec![put(engine_key(0, 0), bad())], NOW);
    consumer.fold();
    let (host, mirrored) = consumer.mirror.engine(&name).unwrap();
    let Link::Down(error) = host.link("0", mirrored) else { panic!("it is live") };
    assert!(error.to_string().contains("odd"), "{error}");
    consumer.mirror.apply(3, vec![put(engine_key(0, 0), Ok(engine(true)))], NOW);
    consumer.fold();
    assert_eq!(consumer.live, BTreeSet::from([name.clone()]));

    let ring = Key::Exit { host: "0".to_owned(), engine: "0".to_owned(), slot: 0 };
    consumer.mirror.apply(4, vec![Change::Deleted(container_key(0, 0, 0)), put(ring, bad())], NOW);
    let exited = EngineEvent::Exited { id: "0".into(), pid: Some(7), at: None, code: None };
    assert_eq!(consumer.mirror.take_effects(), [Effect::Event(name, exited)]);
}
