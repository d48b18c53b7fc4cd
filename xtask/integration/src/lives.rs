//! What was really started, and what may have ended it: what a watcher announces must be in here.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_core::{Container, EventKind};

use crate::recorder::{Record, is_of_fence};

/// A life, by the key of its container and something that no other life of that has.
type Key = (String, u32);

/// All lives that there were.
#[derive(Debug)]
pub(crate) struct Lives {
    key_of: fn(&Container) -> Key,
    lives: HashMap<Key, Life>,
    /// How often each key was used: PIDs are used again.
    times: HashMap<Key, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    /// When its start was asked for.
    start: SystemTime,
    /// When that was asked for first by which it may end.
    end: Option<SystemTime>,
}

impl Lives {
    /// Of an engine on which an ID can be that of another life.
    pub(crate) fn by_pid() -> Lives {
        Lives::by(|container| (container.id().to_string(), container.pid()))
    }

    /// Of an engine on which each life has an ID of its own. Every PID given is 0 then.
    pub(crate) fn by_id() -> Lives {
        Lives::by(|container| (container.id().to_string(), 0))
    }

    fn by(key_of: fn(&Container) -> Key) -> Lives {
        Lives { key_of, lives: HashMap::new(), times: HashMap::new() }
    }

    /// Its start is about to be asked for; one that is brief then ends by itself.
    pub(crate) fn begin(&mut self, key: &str, pid: u32, is_brief: bool) {
        self.began(key, pid, SystemTime::now(), is_brief);
    }

    /// Its start was asked for at this time.
    pub(crate) fn began(&mut self, key: &str, pid: u32, start: SystemTime, is_brief: bool) {
        let key = (key.to_owned(), pid);
        *self.times.entry(key.clone()).or_default() += 1;
        self.lives.insert(key, Life { start, end: is_brief.then_some(start) });
    }

    /// It was not started after all.
    pub(crate) fn strike_out(&mut self, key: &str, pid: u32) {
        self.lives.remove(&(key.to_owned(), pid));
    }

    /// That is about to be asked for by which it may end.
    pub(crate) fn may_end(&mut self, key: &str, pid: u32) {
        if let Some(life) = self.lives.get_mut(&(key.to_owned(), pid)) {
            life.end.get_or_insert_with(SystemTime::now);
        }
    }

    /// Returns for how many lives of this container with this PID a start was asked for, whatever the engine answered.
    pub(crate) fn times(&self, key: &str, pid: u32) -> usize {
        self.times.get(&(key.to_owned(), pid)).copied().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.lives.len()
    }

    /// Checks that all that a subscriber received really happened, and was reported once.
    pub(crate) fn bears_out(&self, record: &Record) -> Result<()> {
        for container in record.joined.containers() {
            self.life_of(container).with_context(|| format!("{container}, there when it joined"))?;
        }
        let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
        for (index, (event, came)) in record.events.iter().zip(&record.came).enumerate() {
            let Some(container) = event.container() else { continue };
            if is_of_fence(event) {
                continue;
            }
            let of = || format!("event {index}, {event}, PID {}", container.pid());
            let life = self.life_of(container).with_context(of)?;
            ensure!(life.start <= *came, "{}: it was reported before it began", of());
            let key = (self.key_of)(container);
            let is_new = match &event.kind {
                EventKind::Started(_) => begun.insert(key),
                EventKind::Exited { .. } => {
                    ensure!(life.end.is_some_and(|end| end <= *came), "{}: nothing had ended it", of());
                    ended.insert(key)
                }
                _ => !ended.contains(&key),
            };
            ensure!(is_new, "{}: this life's start or end was reported before", of());
        }
        Ok(())
    }

    fn life_of(&self, container: &Container) -> Result<&Life> {
        self.lives.get(&(self.key_of)(container)).context("there never was such a life")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use whalewatcher_core::{Event, Portfolio};

    use super::*;

    fn web(pid: u32) -> Arc<Container> {
        Arc::new(Container::new("shop/web", "shop/web", pid))
    }

    fn exited(pid: u32) -> EventKind {
        EventKind::Exited { container: web(pid), code: Some(137) }
    }

    fn reported_at(came: SystemTime, kinds: impl IntoIterator<Item = EventKind>) -> Record {
        let events: Vec<Event> = kinds.into_iter().map(|kind| Event::new(came, kind)).collect();
        let came = vec![came; events.len()];
        Record { joined: Portfolio::default(), fold: Portfolio::default(), came, events }
    }

    fn reported(kinds: impl IntoIterator<Item = EventKind>) -> Record {
        reported_at(SystemTime::now(), kinds)
    }

    /// One that goes on, one that was killed, and one that ends by itself.
    fn lives() -> Lives {
        let mut lives = Lives::by_pid();
        lives.begin("shop/web", 1, false);
        lives.begin("shop/web", 2, false);
        lives.may_end("shop/web", 2);
        lives.begin("shop/web", 3, true);
        lives
    }

    #[test]
    fn what_happened_is_borne_out() {
        let kinds = [
            EventKind::Started(web(2)),
            exited(2),
            EventKind::Started(web(3)),
            exited(3),
            EventKind::Started(web(1)),
        ];
        lives().bears_out(&reported(kinds)).unwrap();
    }

    #[test]
    fn what_did_not_happen_is_found_out() {
        let lives = lives();
        assert!(lives.bears_out(&reported([EventKind::Started(web(4))])).is_err(), "no such life");
        assert!(lives.bears_out(&reported([EventKind::Paused(web(4))])).is_err(), "no such life");
        assert!(lives.bears_out(&reported([exited(1)])).is_err(), "it goes on");
        let earlier = SystemTime::now() - Duration::from_secs(60);
        assert!(lives.bears_out(&reported_at(earlier, [EventKind::Started(web(1))])).is_err(), "too early");
        assert!(lives.bears_out(&reported([exited(2), exited(2)])).is_err(), "it ended twice");
        let twice = [EventKind::Started(web(1)), EventKind::Started(web(1))];
        assert!(lives.bears_out(&reported(twice)).is_err(), "it began twice");
        assert!(lives.bears_out(&reported([exited(2), EventKind::Paused(web(2))])).is_err(), "it was over");
    }

    #[test]
    fn a_life_that_was_struck_out_never_was() {
        let mut lives = lives();
        lives.strike_out("shop/web", 1);
        assert!(lives.bears_out(&reported([EventKind::Started(web(1))])).is_err());
    }
}
