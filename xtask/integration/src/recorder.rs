//! A subscriber that keeps all events.

use std::fmt::Write as _;
use std::sync::MutexGuard;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use tokio::sync::watch;
use tokio::time::timeout;
use whalewatcher_core::{Event, EventKind, Portfolio, Subscription};

use crate::fixture::FENCE;
use crate::growing::{Adding, Growing};

/// How long is waited for something that has to come, on a machine however busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// What a subscriber received.
#[derive(Clone)]
pub(crate) struct Record {
    /// The picture when it joined.
    pub(crate) joined: Portfolio,
    pub(crate) events: Vec<Event>,
    /// When each of them came.
    pub(crate) came: Vec<SystemTime>,
    /// The picture with all events applied.
    pub(crate) fold: Portfolio,
}

impl Record {
    /// Returns the events of containers from the one at `from` on, a line each: `exited web 137`. Those of
    /// the fence are left out.
    pub(crate) fn reported_since(&self, from: usize) -> Vec<String> {
        self.events[from..].iter().filter_map(words).collect()
    }

    /// Counts the events `synced`.
    pub(crate) fn synced(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.kind, EventKind::Synced { .. })).count()
    }

    /// How many events of this kind there are, but for those of the fence.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| !is_of_fence(event) && event.kind.name() == kind).count()
    }
}

/// A subscriber that reads in a task of its own.
pub(crate) struct Recorder {
    pub(crate) name: String,
    record: Growing<Record>,
    /// How long it rests after each event. A change ends the rest that it has.
    rest: watch::Sender<Duration>,
}

impl Recorder {
    pub(crate) fn start(
        name: &str,
        (joined, mut subscription): (Portfolio, Subscription),
        rest: Duration,
    ) -> Recorder {
        let record = Record { fold: joined.clone(), joined, events: Vec::new(), came: Vec::new() };
        let (rest, mut resting) = watch::channel(rest);
        let task = |record: Adding<Record>| async move {
            while let Some(event) = subscription.next().await {
                record.add(|record| {
                    record.fold.apply(&event.kind);
                    record.events.push(event);
                    record.came.push(SystemTime::now());
                });
                let rest = *resting.borrow_and_update();
                if !rest.is_zero() {
                    // It ends early when another length is set.
                    let _ = timeout(rest, resting.changed()).await;
                }
            }
        };
        Recorder { name: name.to_owned(), record: Growing::start(record, task), rest }
    }

    /// From now on it reads as fast as it can.
    pub(crate) fn hurry(&self) {
        self.rest_for(Duration::ZERO);
    }

    /// From now on it rests so long after each event.
    pub(crate) fn rest_for(&self, rest: Duration) {
        self.rest.send_replace(rest);
    }

    /// Forgets the events so far, as if it joined now.
    pub(crate) fn forget(&self) {
        let mut record = self.record();
        record.joined = record.fold.clone();
        record.events.clear();
        record.came.clear();
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.so_far()
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> usize {
        self.record().events.len()
    }

    /// Waits for the next event, but no longer than this.
    pub(crate) async fn next_within(&self, limit: Duration) {
        self.record.next_within(limit).await;
    }

    /// Waits until the events so far satisfy this.
    pub(crate) async fn until(&self, what: &str, holds: impl FnMut(&Record) -> bool) -> Result<()> {
        let holds = self.record.until(holds).await;
        ensure!(holds, "subscriber {}: it did not come about that {what}\n{}", self.name, self.tail());
        Ok(())
    }

    /// Waits until it has received so many events of this kind, of all containers but the fence.
    pub(crate) async fn until_reported(&self, count: usize, kind: &str) -> Result<()> {
        self.until(&format!("{count} {kind}"), |record| record.count(kind) >= count).await
    }

    /// The last events, for people.
    pub(crate) fn tail(&self) -> String {
        let record = self.record();
        let from = record.events.len().saturating_sub(60);
        let mut text = format!("  the last of {} events of subscriber {}:", record.events.len(), self.name);
        for (index, event) in record.events.iter().enumerate().skip(from) {
            let time = jiff::Timestamp::try_from(event.time).unwrap_or_default();
            let _ = write!(text, "\n    {index:4} {time} {event}");
            if let Some(started_at) = event.container().and_then(|container| container.started_at()) {
                let started_at = jiff::Timestamp::try_from(started_at).unwrap_or_default();
                let _ = write!(text, " (life of {started_at})");
            }
        }
        text
    }
}

/// Reads on from a place in a subscriber's record.
pub(crate) struct Reader<'a> {
    recorder: &'a Recorder,
    next: usize,
}

impl<'a> Reader<'a> {
    /// From what comes now on.
    pub(crate) fn new(recorder: &'a Recorder) -> Reader<'a> {
        Reader { recorder, next: recorder.len() }
    }

    /// Waits for the next event of a container, which must be this.
    pub(crate) async fn expect(&mut self, expected: &str) -> Result<()> {
        let from = self.next;
        let what = format!("'{expected}' is reported");
        self.recorder.until(&what, |record| !record.reported_since(from).is_empty()).await?;
        let record = self.recorder.record();
        let at = record.events[from..].iter().position(|event| words(event).is_some());
        let reported = at.and_then(|at| {
            self.next = from + at + 1;
            words(&record.events[from + at])
        });
        if reported.as_deref() != Some(expected) {
            drop(record);
            bail!("expected '{expected}', but was reported {reported:?}\n{}", self.recorder.tail());
        }
        Ok(())
    }

    /// Returns the events since, of all containers but the fence.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.recorder.record().reported_since(self.next)
    }
}

/// Whether it is of a container that only shows that events have arrived.
pub(crate) fn is_of_fence(event: &Event) -> bool {
    event.container().is_some_and(|container| container.name().starts_with(FENCE))
}

/// Formats an event of a container; `None` if it is of none, or of the fence.
pub(crate) fn words(event: &Event) -> Option<String> {
    let container = event.container().filter(|_| !is_of_fence(event))?;
    let (kind, name) = (event.kind.name(), container.name());
    Some(match event.kind {
        EventKind::Exited { code: Some(code), .. } => format!("{kind} {name} {code}"),
        _ => format!("{kind} {name}"),
    })
}
