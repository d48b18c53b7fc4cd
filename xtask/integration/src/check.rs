//! What has to hold after every scenario, whatever it did.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use tokio::time::{Instant, sleep, timeout_at};
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{Container, ContainerId, Counters, Event, EventKind, Portfolio};
use whalewatcher_moby::Client;

use crate::recorder::{LIMIT, Record, Recorder};
use crate::stage::Stage;
use crate::truth::Truth;
use crate::watched::{Watched, Way};

/// For how long nothing is announced when all has come to rest. That nothing comes can only be waited for.
const QUIET: Duration = Duration::from_millis(100);

/// What went wrong on the way to the right picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    resyncs: u64,
    pub(crate) drifted: u64,
    pub(crate) malformed: u64,
    pub(crate) retries: u64,
}

impl Trouble {
    pub(crate) fn of<C: EngineClient>(watched: &Watched<C>) -> Trouble {
        let Counters { resyncs, drifted, malformed, retries, .. } = watched.watching.status().counters;
        Trouble { resyncs, drifted, malformed, retries }
    }
}

/// Checks everything, once the engine is quiet and no more fault is at work.
pub(crate) async fn check(stage: &Stage, watched: &Watched<Client>) -> Result<()> {
    // dockerd inspects nothing whose end it is just about to tell: afterwards, all that has ended was told.
    Truth::ask(&stage.docker().await?).await?;
    match watched.way {
        Way::Clear | Way::Cut => stage.fence(watched).await?,
        Way::Faulty => recovered(watched, async || stage.fence(watched).await).await?,
    }
    let ask = async || Truth::ask(&stage.docker().await?).await;
    let (truth, trouble) = settled(watched, ask, Truth::differences).await?;
    ensure!(watched.watching.status().is_live(), "the watcher is not live: {}", watched.watching.status());
    let allowed = match watched.way {
        Way::Clear => Trouble { resyncs: 1, ..Trouble::default() },
        Way::Cut => Trouble { resyncs: trouble.resyncs, ..Trouble::default() },
        Way::Faulty => trouble,
    };
    ensure!(
        Trouble::of(watched) == allowed,
        "something went wrong on the way to the right picture: {:?} instead of {allowed:?}",
        Trouble::of(watched)
    );
    for recorder in &watched.recorders {
        recorder.hurry();
        let portfolio = watched.watching.portfolio();
        recorder.until("its events add up to the portfolio", |record| record.fold == portfolio).await?;
        let record = recorder.record().clone();
        let sound = sequence(&record, watched.way).and_then(|()| times(stage, &record, &truth, watched.way));
        with_events(sound, recorder)?;
    }
    Ok(())
}

pub(crate) fn with_events(result: Result<()>, recorder: &Recorder) -> Result<()> {
    result.map_err(|error| error.context(recorder.tail()))
}

/// Waits until the connection is a healthy one again: what the engine tells, as the fence shows, comes by its events,
/// while nothing else has to be repaired.
pub(crate) async fn recovered<C: EngineClient>(
    watched: &Watched<C>,
    fence: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut status = watched.watching.follow_status();
        let healthy = status.wait_for(|status| status.is_live() && status.unresolved.is_empty());
        if timeout_at(deadline, healthy).await.is_err() {
            bail!("it does not recover: {}\n{}", watched.watching.status(), watched.recorder().tail());
        }
        let before = Trouble::of(watched);
        fence().await?;
        if Trouble::of(watched) == before {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it does not come to rest: {:?}", Trouble::of(watched));
    }
}

/// Waits until the picture is what the engine says, and stays so while nothing more is announced for a while. Returns what
/// the engine said, and what had gone wrong by then. The engine is a moment ahead, and on a busy machine events of what is
/// over already may come after the picture looks right; whether they make sense is checked by [`sequence`].
pub(crate) async fn settled<C: EngineClient, T>(
    watched: &Watched<C>,
    ask: impl AsyncFn() -> Result<T>,
    differences: impl Fn(&T, &Portfolio) -> Vec<String>,
) -> Result<(T, Trouble)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (reported, trouble) = (watched.recorder().len(), Trouble::of(watched));
        let mut wrong = differences(&ask().await?, &watched.watching.portfolio());
        if wrong.is_empty() {
            sleep(QUIET).await;
            let truth = ask().await?;
            wrong = differences(&truth, &watched.watching.portfolio());
            if wrong.is_empty() && (watched.recorder().len(), Trouble::of(watched)) == (reported, trouble) {
                return Ok((truth, trouble));
            }
        } else {
            watched.recorder().next_within(Duration::from_millis(50)).await;
        }
        if Instant::now() > deadline {
            let wrong =
                if wrong.is_empty() { "nothing, but events go on".to_owned() } else { wrong.join("\n    ") };
            bail!("the portfolio is not what the engine says:\n    {wrong}\n{}", watched.recorder().tail());
        }
    }
}

/// Each container's events make sense, one after the other.
pub(crate) fn sequence(record: &Record, way: Way) -> Result<()> {
    let mut known: HashMap<ContainerId, Arc<Container>> =
        record.joined.containers().map(|container| (container.id().clone(), container.clone())).collect();
    let mut begun: HashSet<_> = known.values().map(|container| container.life()).collect();
    let mut ended: HashMap<_, &Event> = HashMap::new();
    let (mut synced, mut disconnected, mut lagged) = (0, 0, 0);
    for (index, event) in record.events.iter().enumerate() {
        let before = event.container().and_then(|container| known.get(container.id()).cloned());
        let wrong = |why: &str| {
            let reported = history(&record.events[..=index], event);
            format!("event {index}, {event}: {why}; known was {before:?}; reported of it was:{reported}")
        };
        match &event.kind {
            EventKind::Started(container) => {
                ensure!(before.is_none(), wrong("started, but was alive"));
                if !begun.insert(container.life()) {
                    let exit = ended.remove(&container.life());
                    let taken_back = exit.is_some_and(|exit| is_taken_back(exit, container));
                    ensure!(way == Way::Cut && taken_back, wrong("this life was started before"));
                }
                known.insert(container.id().clone(), container.clone());
            }
            EventKind::Exited { container, .. } => {
                let Some(before) = &before else { bail!(wrong("exited, but was not alive")) };
                ensure!(before == container, wrong("it exited otherwise than it was known"));
                ensure!(
                    ended.insert(container.life(), event).is_none(),
                    wrong("this life has exited before")
                );
                known.remove(container.id());
            }
            EventKind::Paused(container) | EventKind::Unpaused(container) | EventKind::Updated(container) => {
                let Some(before) = &before else { bail!(wrong("it was not alive")) };
                ensure!(before.life() == container.life(), wrong("it is another life"));
                let paused = match event.kind {
                    EventKind::Paused(_) => (false, true),
                    EventKind::Unpaused(_) => (true, false),
                    _ => (before.paused(), before.paused()),
                };
                ensure!((before.paused(), container.paused()) == paused, wrong("paused or not does not fit"));
                ensure!(before != container, wrong("nothing changed"));
                known.insert(container.id().clone(), container.clone());
            }
            EventKind::Synced { containers, .. } => {
                synced += 1;
                ensure!(*containers == known.len(), wrong(&format!("{} are known", known.len())));
            }
            EventKind::Disconnected { .. } => {
                disconnected += 1;
                ensure!(way != Way::Clear, wrong("nobody cut the connection"));
            }
            EventKind::Lagged { .. } => lagged += 1,
            _ => {}
        }
    }
    // Who lags is told again that it is in sync, but not that it was disconnected before.
    ensure!(
        synced <= disconnected + lagged + 1,
        "{synced} times in sync, but {disconnected} times disconnected"
    );
    Ok(())
}

/// Whether an event told that exit, as newer than the beginning of the life that was then told to have started. dockerd
/// tells such an exit, and then a start, of a life that goes on: if it is killed together with a container and then starts
/// that one again, it can take the exit of the life before for one of the new life.
fn is_taken_back(exit: &Event, started: &Container) -> bool {
    let EventKind::Exited { code, .. } = &exit.kind else { return false };
    code.is_some() && started.started_at().is_some_and(|began| began < exit.time)
}

/// What was told up to an event of the container that it is of, a line each.
fn history(events: &[Event], event: &Event) -> String {
    let of = |event: &Event| event.container().map(|container| container.id().clone());
    let same = events.iter().enumerate().filter(|(_, other)| of(other) == of(event));
    same.map(|(index, other)| format!("\n    {index:4} {:?} {other}", other.time)).collect()
}

/// Times are the engine's, and in order.
fn times(stage: &Stage, record: &Record, truth: &Truth, way: Way) -> Result<()> {
    if record.events.iter().any(|event| matches!(event.kind, EventKind::Lagged { .. })) {
        // A difference is dated when it is told.
        return Ok(());
    }
    let mut last: HashMap<&ContainerId, &Event> = HashMap::new();
    for event in &record.events {
        ensure!(
            event.time >= stage.began() && event.time <= SystemTime::now(),
            "{event} is not of this run: {:?}",
            event.time
        );
        let Some(container) = event.container() else { continue };
        let former = last.insert(container.id(), event);
        if let EventKind::Started(container) = &event.kind {
            let taken_back = former.is_some_and(|former| way == Way::Cut && is_taken_back(former, container));
            let dated = container.started_at() == Some(event.time);
            ensure!(
                dated || taken_back,
                "{event} is not of its life's beginning:{}",
                history(&record.events, event)
            );
        }
        // What comes late, or is seen by a list only, is noticed late and dated then, when the next life may have begun.
        if let Some(former) = former.filter(|_| way == Way::Clear) {
            ensure!(former.time <= event.time, "{event} is dated before {former}");
        }
    }
    if way != Way::Clear {
        return Ok(());
    }
    let exits = || record.events.iter().filter(|event| matches!(event.kind, EventKind::Exited { .. }));
    let early = exits().filter(|event| matches!(event.kind, EventKind::Exited { code: None, .. })).count();
    if early > 0 {
        stage.figure(format!("{early} of {} exits were reported without their codes", exits().count()));
    }
    for (id, event) in last {
        let (Some(inspected), Some(container)) = (truth.containers.get(&**id), event.container()) else {
            continue;
        };
        // Of a life that nobody saw only the event of its start is known, which dockerd sends a moment later.
        let is_right = match container.pid() {
            0 => container.started_at() >= inspected.started_at,
            _ => container.started_at() == inspected.started_at,
        };
        ensure!(is_right, "{event}: the engine says it started at {:?}", inspected.started_at);
        let EventKind::Exited { code, .. } = &event.kind else { continue };
        ensure!(
            Some(event.time) >= inspected.finished_at,
            "{event} at {:?}: the engine says it ended at {:?}",
            event.time,
            inspected.finished_at
        );
        // An inspection that was under way may tell of the end before the event does, but not its code.
        let Some(code) = code.map(i64::from) else { continue };
        ensure!(Some(code) == inspected.exit_code, "{event}: the engine says {:?}", inspected.exit_code);
        let mut ends = truth.ends.iter().filter(|end| end.id == **id).peekable();
        ensure!(
            ends.peek().is_none() || ends.any(|end| (end.at, end.code) == (event.time, code)),
            "{event} at {:?}: the engine reported otherwise",
            event.time
        );
    }
    Ok(())
}
