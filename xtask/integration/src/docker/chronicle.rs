//! What really happened: the lives of all containers, from the engine's own events and inspections, not
//! through the proxy that the watcher is connected to. What a watcher announces must be in here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bollard::models::EventMessage;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::{Container, Event, EventKind};

use crate::docker::truth::{self, alive};
use crate::fixture::locked;
use crate::recorder::{LIMIT, Record};
use crate::truth::Alive;
use whalewatcher_drivers::docker::Driver;

/// The engine changes what it says of a container, and dates its event a moment later.
const AHEAD: Duration = Duration::from_secs(1);

/// Follows an engine.
pub(crate) struct Chronicle {
    docker: Driver,
    book: Arc<Mutex<Book>>,
    grown: watch::Receiver<()>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Book {
    containers: HashMap<String, History>,
    /// How many starts, ends, pauses and renames the engine reported.
    changes: usize,
    /// How many starts are still to be looked into.
    looking: usize,
    /// Why there is nothing more to come.
    failure: Option<String>,
}

/// What the engine reported of a container, in order.
#[derive(Default)]
struct History {
    names: Vec<(SystemTime, String)>,
    reported: Vec<(SystemTime, Reported)>,
    /// Lives that were seen by inspections: start and PID.
    seen: Vec<(SystemTime, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Start,
    End { code: i64 },
    Pause,
    Unpause,
}

/// A life, by the place of its start in its container's history.
#[derive(Clone, Copy, Debug)]
struct Life {
    start: usize,
    began: SystemTime,
    end: Option<(SystemTime, i64)>,
}

impl Chronicle {
    /// Begins with what is alive now, while the engine is quiet.
    pub(crate) async fn begin(docker: &Driver) -> Result<Chronicle> {
        let mut events = Box::pin(docker.follow());
        let truth = truth::ask(docker).await?;
        let containers = truth.alive.iter().map(|(id, alive)| Ok((id.clone(), History::of(alive)?)));
        let containers = containers.collect::<Result<_>>()?;
        let book = Arc::new(Mutex::new(Book { containers, ..Book::default() }));
        let (growing, grown) = watch::channel(());
        let follow = {
            let (docker, book) = (docker.clone(), book.clone());
            async move {
                let mut looks = FuturesUnordered::new();
                loop {
                    tokio::select! {
                        event = events.try_next() => {
                            let started = match event {
                                Ok(Some(event)) => locked(&book).take_in(event),
                                Ok(None) => Err(anyhow!("the engine's events ended")),
                                Err(error) => Err(error),
                            };
                            match started {
                                Ok(Some(id)) => {
                                    let docker = &docker;
                                    looks.push(async move { (alive(docker, &id).await, id) });
                                }
                                Ok(None) => {}
                                Err(error) => {
                                    locked(&book).failure = Some(format!("{error:#}"));
                                    growing.send_replace(());
                                    return;
                                }
                            }
                        }
                        Some((alive, id)) = looks.next(), if !looks.is_empty() => {
                            locked(&book).looked(id, alive);
                        }
                    }
                    growing.send_replace(());
                }
            }
        };
        let task = AbortOnDropHandle::new(tokio::spawn(follow));
        Ok(Chronicle { docker: docker.clone(), book, grown, _task: task })
    }

    /// How many starts, ends, pauses and renames there were.
    pub(crate) fn changes(&self) -> usize {
        self.book().changes
    }

    /// Waits until all events are in here up to the one by which a container got this name.
    pub(crate) async fn complete(&self, name: &str) -> Result<()> {
        let is_complete = |book: &Book| {
            let mut histories = book.containers.values();
            book.looking == 0 && histories.any(|history| history.names.iter().any(|(_, known)| known == name))
        };
        let mut grown = self.grown.clone();
        let waiting = async {
            loop {
                grown.mark_unchanged();
                let (complete, failure) = {
                    let book = self.book();
                    (is_complete(&book), book.failure.clone())
                };
                match failure {
                    Some(failure) => bail!("the chronicle is broken: {failure}"),
                    None if complete => return Ok(()),
                    None => grown.changed().await?,
                }
            }
        };
        timeout(LIMIT, waiting).await.with_context(|| format!("the engine does not report of {name}"))?
    }

    /// Checks that all that a subscriber received really happened, once the chronicle is
    /// [complete](Chronicle::complete).
    pub(crate) fn bears_out(&self, record: &Record) -> Result<()> {
        self.book().bears_out_all(record)
    }

    /// Forgets ended lives, once no subscriber can receive events of them any more.
    pub(crate) async fn forget(&self) -> Result<()> {
        let truth = truth::ask(&self.docker).await?;
        let containers = truth.alive.iter().map(|(id, alive)| Ok((id.clone(), History::of(alive)?)));
        self.book().containers = containers.collect::<Result<_>>()?;
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }
}

impl Book {
    /// Takes in an event, and returns whose life began, if one did.
    fn take_in(&mut self, event: EventMessage) -> Result<Option<String>> {
        let (Some(action), Some(actor), Some(nanos)) = (event.action, event.actor, event.time_nano) else {
            bail!("an event without action, actor or time");
        };
        let at = UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos)?);
        let (id, attributes) =
            (actor.id.context("an event without ID")?, actor.attributes.unwrap_or_default());
        let history = self.containers.entry(id.clone()).or_default();
        if let Some(name) = attributes.get("name")
            && history.names.last().is_none_or(|(_, known)| known != name)
        {
            history.names.push((at, name.clone()));
        }
        let reported = match action.as_str() {
            "start" => Some(Reported::Start),
            "die" => {
                let code = attributes.get("exitCode").context("an end without exit code")?;
                Some(Reported::End { code: code.parse()? })
            }
            "pause" => Some(Reported::Pause),
            "unpause" => Some(Reported::Unpause),
            _ => None,
        };
        history.reported.extend(reported.map(|reported| (at, reported)));
        self.changes += usize::from(reported.is_some() || action == "rename");
        if reported != Some(Reported::Start) {
            return Ok(None);
        }
        self.looking += 1;
        Ok(Some(id))
    }

    fn looked(&mut self, id: String, alive: Result<Option<Alive>>) {
        self.looking -= 1;
        match alive {
            Ok(Some(alive)) => {
                let seen = alive.started_at.map(|started_at| (started_at, alive.pid));
                self.containers.entry(id).or_default().seen.extend(seen);
            }
            Ok(None) => {}
            Err(error) => self.failure = Some(format!("{error:#}")),
        }
    }

    fn life_of(&self, container: &Container) -> Result<Life> {
        let history = self.containers.get(&**container.id()).context("there is no such container")?;
        history.life_of(container)
    }

    fn bears_out_all(&self, record: &Record) -> Result<()> {
        for container in record.joined.containers() {
            self.life_of(container).with_context(|| format!("{container}, there when it joined"))?;
        }
        let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
        // A subscriber may have joined amid a resync.
        let mut is_resync = true;
        for (index, (event, came)) in record.events.iter().zip(&record.came).enumerate() {
            match event.kind {
                EventKind::Disconnected { .. } => is_resync = true,
                EventKind::Synced { .. } => is_resync = false,
                _ => {}
            }
            let Some(container) = event.container() else { continue };
            let life = self.bears_out(event, container, *came, is_resync);
            let life = life.with_context(|| format!("event {index}, {event}, did not happen"))?;
            let key = (container.id().clone(), life.start);
            let is_new = match event.kind {
                EventKind::Started(_) => begun.insert(key),
                EventKind::Exited { .. } => ended.insert(key),
                _ => !ended.contains(&key),
            };
            ensure!(is_new, "event {index}, {event}: this life's start or end was reported before");
        }
        Ok(())
    }

    /// Checks that an event happened, given when it came and whether the watcher was finding out what it had missed.
    fn bears_out(
        &self,
        event: &Event,
        container: &Container,
        came: SystemTime,
        is_resync: bool,
    ) -> Result<Life> {
        let history = self.containers.get(&**container.id()).context("there is no such container")?;
        let life = history.life_of(container)?;
        let by_then = came + AHEAD;
        ensure!(life.began <= by_then, "it was reported before it began");
        let mut names = history.names.iter().filter(|(since, _)| *since <= by_then);
        ensure!(names.any(|(_, name)| name == container.name()), "it was not called so by then");
        let of_life = history.reported.iter().skip(life.start + 1);
        let mut of_life = of_life.take_while(|(at, reported)| *reported != Reported::Start && *at <= by_then);
        match &event.kind {
            EventKind::Exited { code, .. } => {
                let (at, really) = life.end.context("this life has not ended")?;
                ensure!(at <= by_then, "it was reported before it ended");
                if let Some(code) = code {
                    ensure!(i64::from(*code) == really, "the exit code was {really}");
                    // An inspection says when the process ended, which the engine reports a moment later.
                    let is_inspected =
                        is_resync && event.time <= at && Some(event.time) > container.started_at();
                    ensure!(at == event.time || is_inspected, "it ended at {at:?}, not at {:?}", event.time);
                }
            }
            EventKind::Paused(_) => {
                ensure!(of_life.any(|(_, reported)| *reported == Reported::Pause), "it was not paused");
            }
            EventKind::Unpaused(_) => {
                ensure!(of_life.any(|(_, reported)| *reported == Reported::Unpause), "it was not unpaused");
            }
            _ => {}
        }
        Ok(life)
    }
}

impl History {
    /// The history of a container that was alive at the beginning.
    fn of(alive: &Alive) -> Result<History> {
        let began = alive.started_at.context("alive, but never started")?;
        Ok(History {
            names: vec![(began, alive.name.clone())],
            reported: vec![(began, Reported::Start)],
            seen: vec![(began, alive.pid)],
        })
    }

    /// The life that was announced: the engine's own one of that start.
    fn life_of(&self, container: &Container) -> Result<Life> {
        let started_at = container.started_at().context("without a time of its start")?;
        let starts =
            || self.reported.iter().enumerate().filter(|(_, (_, reported))| *reported == Reported::Start);
        // Of a life that was never inspected only the event of its start is known, which is dated after the
        // start itself.
        let start = match container.pid() {
            0 => starts().find(|(_, (at, _))| *at == started_at),
            _ => starts().find(|(_, (at, _))| *at >= started_at),
        };
        let (start, (began, _)) = start.with_context(|| format!("no life began at {started_at:?}"))?;
        if container.pid() != 0 {
            let former = starts().map(|(_, (at, _))| *at).rfind(|at| *at < started_at);
            let mut seen = self.seen.iter().filter(|(at, _)| at <= began && Some(*at) > former);
            let announced = (started_at, container.pid());
            if let Some(seen) = seen.next() {
                ensure!(*seen == announced, "that life has start and PID {seen:?}, not {announced:?}");
            }
        }
        let rest = self.reported[start + 1..].iter().take_while(|(_, reported)| *reported != Reported::Start);
        let mut ends = rest.filter_map(|(at, reported)| match reported {
            Reported::End { code } => Some((*at, *code)),
            _ => None,
        });
        Ok(Life { start, began: *began, end: ends.next() })
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::Portfolio;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(millis)
    }

    /// A container "a" that lived from 100 to 5000 and was paused at 300, and lives again since 9000.
    fn book() -> Book {
        let history = History {
            names: vec![(at(0), "web".to_owned())],
            reported: vec![
                (at(110), Reported::Start),
                (at(300), Reported::Pause),
                (at(5000), Reported::End { code: 7 }),
                (at(9010), Reported::Start),
            ],
            seen: vec![(at(100), 11), (at(9000), 12)],
        };
        Book { containers: HashMap::from([("a".to_owned(), history)]), ..Book::default() }
    }

    fn life(began: u64, pid: u32) -> Container {
        Container::new("a", "web", pid).with_started_at(at(began))
    }

    /// What is wrong with an event that came then.
    fn wrong(kind: EventKind, reported: u64, came: u64) -> Option<String> {
        wrong_amid(kind, reported, came, false)
    }

    fn wrong_amid(kind: EventKind, dated: u64, came: u64, is_resync: bool) -> Option<String> {
        let event = Event::new(at(dated), kind);
        let container = event.container().unwrap();
        let done = book().bears_out(&event, container, at(came), is_resync);
        done.err().map(|error| format!("{error:#}"))
    }

    fn started(container: Container) -> EventKind {
        EventKind::Started(Arc::new(container))
    }

    fn exited(container: Container, code: Option<i32>) -> EventKind {
        EventKind::Exited { container: Arc::new(container), code }
    }

    #[test]
    fn what_happened_is_borne_out() {
        assert_eq!(wrong(started(life(100, 11)), 100, 120), None);
        assert_eq!(wrong(started(life(9000, 12)), 9000, 9020), None);
        assert_eq!(wrong(started(life(9010, 0)), 9010, 9020), None, "seen by its event only");
        assert_eq!(wrong(exited(life(100, 11), Some(7)), 5000, 5010), None);
        assert_eq!(wrong(exited(life(100, 11), None), 8000, 8010), None, "noticed later");
        assert_eq!(wrong_amid(exited(life(100, 11), Some(7)), 4990, 8010, true), None, "inspected later");
        assert_eq!(wrong(EventKind::Paused(Arc::new(life(100, 11))), 300, 310), None);
    }

    #[test]
    fn a_life_that_never_was_is_found_out() {
        for kind in [
            started(life(100, 99)),
            started(life(50, 11)),
            started(life(6000, 13)),
            started(life(9500, 14)),
            started(life(9000, 0)),
            started(Container::new("b", "web", 11).with_started_at(at(100))),
            started(Container::new("a", "blog", 11).with_started_at(at(100))),
            started(Container::new("a", "web", 11)),
        ] {
            assert!(wrong(kind.clone(), 100, 20_000).is_some(), "{kind}");
        }
        assert!(wrong(started(life(9000, 12)), 9000, 7000).is_some(), "before it began");
    }

    #[test]
    fn an_end_or_a_pause_that_never_was_is_found_out() {
        assert!(wrong(exited(life(9000, 12), None), 9500, 9500).is_some(), "it lives");
        assert!(wrong(exited(life(100, 11), None), 3000, 3000).is_some(), "it lived then");
        assert!(wrong(exited(life(100, 11), Some(0)), 5000, 5010).is_some(), "another exit code");
        assert!(wrong(exited(life(100, 11), Some(7)), 4990, 5010).is_some(), "another moment");
        for moment in [100, 5001] {
            assert!(wrong_amid(exited(life(100, 11), Some(7)), moment, 5010, true).is_some(), "impossible");
        }
        assert!(wrong(EventKind::Paused(Arc::new(life(9000, 12))), 9100, 9100).is_some());
        assert!(wrong(EventKind::Unpaused(Arc::new(life(100, 11))), 400, 410).is_some());
    }

    #[test]
    fn a_start_that_is_reported_twice_is_found_out() {
        let record = |times| Record {
            joined: Portfolio::default(),
            fold: Portfolio::default(),
            came: vec![at(120); times],
            events: vec![Event::new(at(100), started(life(100, 11))); times],
        };
        assert!(book().bears_out_all(&record(1)).is_ok());
        assert!(book().bears_out_all(&record(2)).is_err());
    }
}
