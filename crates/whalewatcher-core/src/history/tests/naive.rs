//! Random histories of two engines against a model that keeps everything and counts again each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIVES: usize = 3;
const WITHIN: u64 = 20;
const KEPT: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Start(usize, u8),
    Exit(usize, u8, Option<i32>),
    Pause(usize, u8),
    Sync(usize),
    Disconnect(usize),
    /// The subscriber lags and these containers have ended meanwhile.
    Lag(usize, Vec<u8>),
    /// The container is shown by the other engine.
    Move(usize, u8),
    /// The engine leaves, and joins again; the containers are the same, except for these.
    Rejoin(usize, Vec<u8>),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let (engine, id) = (0..2_usize, 0..3_u8);
    let code = prop_oneof![Just(None), Just(Some(0)), Just(Some(1))];
    let some = proptest::collection::vec(id.clone(), 0..3);
    prop_oneof![
        12 => (engine.clone(), id.clone()).prop_map(|(engine, id)| Step::Start(engine, id)),
        12 => (engine.clone(), id.clone(), code).prop_map(|(engine, id, code)| Step::Exit(engine, id, code)),
        2 => (engine.clone(), id.clone()).prop_map(|(engine, id)| Step::Pause(engine, id)),
        3 => engine.clone().prop_map(Step::Sync),
        1 => engine.clone().prop_map(Step::Disconnect),
        1 => (engine.clone(), some.clone()).prop_map(|(engine, ended)| Step::Lag(engine, ended)),
        1 => (engine.clone(), id).prop_map(|(engine, id)| Step::Move(engine, id)),
        1 => (engine, some).prop_map(|(engine, ended)| Step::Rejoin(engine, ended)),
        10 => (0..9_u64).prop_map(Step::Wait),
    ]
}

/// A life, as the model knows it.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    key: EngineKey,
    container: Arc<Container>,
    found: bool,
    /// In which order the ends came, when, the code, and whether that is certain.
    end: Option<(u64, SystemTime, Option<i32>, bool)>,
}

#[derive(Default)]
struct Model {
    now: u64,
    lives: Vec<Known>,
    ends: u64,
    live: [bool; 2],
    was_live: [bool; 2],
    /// The ends that count, by engine and name.
    counted: BTreeMap<Identity, Vec<(u64, Option<i32>)>>,
    loops: BTreeMap<Identity, Loop>,
    reported: Vec<(EngineKey, String, bool, u64)>,
}

/// The engine, and the name of a container.
type Identity = (EngineKey, String);

struct Loop {
    lives: u64,
    /// When the newest end was received, and when it happened if that is known.
    newest: (u64, Option<u64>),
}

impl Model {
    fn key(engine: usize) -> EngineKey {
        [docker(), containerd()][engine].clone()
    }

    fn alive(&self, engine: usize, id: u8) -> Option<usize> {
        let key = Self::key(engine);
        let is = |known: &Known| {
            known.end.is_none() && known.key == key && **known.container.id() == *id.to_string()
        };
        self.lives.iter().position(is)
    }

    fn end(&mut self, at: usize, code: Option<i32>, certain: bool, live: bool) {
        self.ends += 1;
        self.lives[at].end = Some((self.ends, super::at(self.now), code, certain));
        let identity = (self.lives[at].key.clone(), self.lives[at].container.name().to_owned());
        let now = self.now;
        if let Some((_, Some(newest))) = self.loops.get(&identity).map(|it| it.newest)
            && live
            && code.is_some()
            && now - newest > WITHIN
        {
            self.over(&identity);
        }
        let all = self.counted.entry(identity.clone()).or_default();
        all.push((now, code));
        let newest = (now, code.map(|_| now));
        if let Some(it) = self.loops.get_mut(&identity) {
            it.lives += 1;
            it.newest = newest;
        } else if all.iter().filter(|(then, _)| now - then <= WITHIN).count() >= LIVES {
            self.loops.insert(identity.clone(), Loop { lives: LIVES as u64, newest });
            self.reported.push((identity.0, identity.1, false, LIVES as u64));
        }
    }

    fn over(&mut self, identity: &Identity) {
        if let Some(it) = self.loops.remove(identity) {
            self.counted.remove(identity);
            self.reported.push((identity.0.clone(), identity.1.clone(), true, it.lives));
        }
    }

    fn expire(&mut self) {
        let due = |key: &EngineKey, it: &Loop| {
            self.live[usize::from(*key != docker())] && self.now >= it.newest.0 + WITHIN
        };
        let over = self.loops.iter().filter(|(id, it)| due(&id.0, it)).map(|(id, _)| id.clone()).collect();
        self.all_over(over);
    }

    /// These loops are over, in the order of their newest ends.
    fn all_over(&mut self, mut identities: Vec<Identity>) {
        let newest = |id: &Identity| {
            let of_it = self.lives.iter().filter(|it| it.key == id.0 && it.container.name() == id.1);
            of_it.filter_map(|it| it.end.map(|end| end.0)).max()
        };
        identities.sort_by_key(newest);
        identities.iter().for_each(|identity| self.over(identity));
    }
}

/// Plays the steps that are possible; returns what was compared.
fn play(steps: &[Step]) {
    let settings =
        HistorySettings::default().with_lives(KEPT).with_crash_loops(LIVES, Duration::from_secs(WITHIN));
    let (mut history, mut model) = (History::new(settings), Model::default());
    let mut reported = Vec::new();
    let mut take = |history: &mut History, engine: usize, now: u64, kind: EventKind| {
        history.handle_event(&Model::key(engine), &Event::new(at(now), kind), at(now));
    };
    let mut pid = 0;
    for step in steps {
        model.expire();
        let now = model.now;
        match step.clone() {
            Step::Wait(seconds) => {
                model.now += seconds;
                model.expire();
                history.handle_timeout(at(model.now));
            }
            Step::Start(engine, id) if model.alive(engine, id).is_none() => {
                pid += 1;
                // No two lives begin at the same moment.
                let began = at(now) + Duration::from_nanos(pid.into());
                let container = Container::new(id.to_string(), format!("c{id}"), pid);
                let container = Arc::new(container.with_started_at(began));
                take(&mut history, engine, now, started(&container));
                let (key, found) = (Model::key(engine), !model.was_live[engine]);
                model.lives.push(Known { key, container, found, end: None });
            }
            Step::Exit(engine, id, code) => {
                let Some(at) = model.alive(engine, id) else { continue };
                take(&mut history, engine, now, exited(&model.lives[at].container, code));
                let live = model.live[engine];
                model.end(at, code, code.is_some() || live, live);
            }
            Step::Pause(engine, id) => {
                let Some(at) = model.alive(engine, id) else { continue };
                let paused = Arc::new(Container::clone(&model.lives[at].container).with_paused(true));
                take(&mut history, engine, now, EventKind::Paused(paused.clone()));
                model.lives[at].container = paused;
            }
            Step::Sync(engine) => {
                take(&mut history, engine, now, synced());
                (model.live[engine], model.was_live[engine]) = (true, true);
                let of_engine = model.loops.iter_mut().filter(|(id, _)| id.0 == Model::key(engine));
                of_engine.for_each(|(_, it)| it.newest = (now, None));
            }
            Step::Disconnect(engine) => {
                take(&mut history, engine, now, disconnected());
                model.live[engine] = false;
            }
            Step::Lag(engine, ended) => {
                // The difference has a time of its own.
                model.now += 1;
                model.expire();
                take(&mut history, engine, model.now, EventKind::Lagged { missed: 1 });
                for id in ended {
                    let Some(at) = model.alive(engine, id) else { continue };
                    take(&mut history, engine, model.now, exited(&model.lives[at].container, None));
                    let live = model.live[engine];
                    model.end(at, None, false, live);
                }
                model.now += 1;
                model.expire();
                history.handle_timeout(at(model.now));
            }
            Step::Move(engine, id) if model.alive(1 - engine, id).is_none() => {
                let Some(at) = model.alive(engine, id) else { continue };
                let container = model.lives[at].container.clone();
                let (was, from) = (container.clone(), Model::key(engine));
                take(&mut history, 1 - engine, now, EventKind::Moved { container, was, from });
                model.lives[at].key = Model::key(1 - engine);
            }
            Step::Rejoin(engine, ended) => {
                rejoin(&mut history, &mut model, engine, &ended, &mut take);
            }
            Step::Start(..) | Step::Move(..) => {}
        }
        while let Some((key, event)) = history.poll_event() {
            let EventKind::CrashLoop(it) = event.kind else { panic!("{event}") };
            reported.push((key, it.container.name().to_owned(), it.is_over, it.lives));
        }
        assert_eq!(reported, model.reported, "after {step:?}");
        compare(&history, &model);
    }
}

/// The engine leaves: all its containers are reported as exited, and some have ended when it joins again.
fn rejoin(
    history: &mut History,
    model: &mut Model,
    engine: usize,
    ended: &[u8],
    take: &mut impl FnMut(&mut History, usize, u64, EventKind),
) {
    model.now += 1;
    model.expire();
    let (now, key) = (model.now, Model::key(engine));
    // So that earlier ends are no part of the leaving.
    take(history, engine, now, EventKind::Lagged { missed: 1 });
    let gone: Vec<_> = (0..3).filter_map(|id| model.alive(engine, id)).collect();
    for at in &gone {
        take(history, engine, now, exited(&model.lives[*at].container, None));
        let before = model.counted.clone();
        let live = model.live[engine];
        model.end(*at, None, false, live);
        // The end may complete a loop, which is over at once.
        model.counted = before;
    }
    take(history, engine, now, EventKind::Left);
    let loops = model.loops.keys().filter(|identity| identity.0 == key).cloned().collect();
    model.all_over(loops);
    take(history, engine, now, EventKind::Joined);
    (model.live[engine], model.was_live[engine]) = (false, false);
    for at in gone {
        let container = model.lives[at].container.clone();
        if !ended.iter().any(|id| id.to_string() == **container.id()) {
            take(history, engine, now, started(&container));
            model.lives[at].end = None;
        }
    }
}

fn compare(history: &History, model: &Model) {
    let mut ended: Vec<_> = model.lives.iter().filter(|known| known.end.is_some()).cloned().collect();
    ended.sort_by_key(|known| known.end.map(|end| end.0));
    let kept: Vec<_> = history.lives().collect();
    // A life that goes on makes room for none of those that it has displaced.
    assert!(kept.len() <= KEPT && ended.len() >= kept.len());
    let newest = &ended[ended.len() - kept.len()..];
    for (kept, known) in kept.iter().zip(newest) {
        let (_, ended_at, code, certain) = known.end.unwrap();
        assert_eq!((kept.key(), kept.container()), (&known.key, &known.container));
        assert_eq!((kept.ended_at(), kept.exit_code(), kept.is_certain()), (ended_at, code, certain));
        assert_eq!((kept.started_at(), kept.was_found()), (known.container.started_at(), known.found));
    }
    let alive = model.lives.iter().filter(|known| known.end.is_none());
    for known in alive {
        assert_eq!(history.was_found(&known.key, known.container.id()), known.found, "{known:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_history_is_what_a_naive_model_says(all in proptest::collection::vec(steps(), 0..120)) {
        play(&all);
    }
}
