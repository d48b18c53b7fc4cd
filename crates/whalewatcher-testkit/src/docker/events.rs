//! Events: their forms, the ring that remembers the last of them, and the listeners that receive them.
//!
//! As in dockerd, registering a listener and taking its replay happen under one lock, and a listener has a queue: an
//! event that finds the queue full waits for room for a limited time, and then silently skips that listener.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::filters::Filters;

/// An event of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Such as `container`, `network`, `image`; `Type` in the JSON.
    pub kind: String,
    /// Such as `start` or `exec_create: /bin/sh -c true`.
    pub action: String,
    /// The ID of the container or other object.
    pub actor: String,
    /// For containers: their labels, `image`, `name`, and what the action adds.
    pub attributes: BTreeMap<String, String>,
    /// By the engine's clock; each event has another time.
    pub time: Timestamp,
}

/// What happens to an event, decided by a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is recorded in the ring and delivered to the listeners.
    Deliver,
    /// It is recorded, but skips all current listeners, as if all were too slow.
    Skip,
    /// It is neither recorded nor delivered.
    Vanish,
}

/// An event with its forms in JSON, each made when first needed and shared by all listeners.
#[derive(Debug)]
pub(super) struct Recorded {
    event: Event,
    old: OnceLock<Bytes>,
    new: OnceLock<Bytes>,
    libpod: OnceLock<Bytes>,
}

/// The forms of an event. Docker's API 1.52 dropped fields that were deprecated since 2016; in podman's own
/// API exits are always `died`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Old,
    New,
    Libpod,
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: WireActor<'a>,
    scope: &'a str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i128,
}

#[derive(Serialize)]
struct WireActor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes")]
    attributes: &'a BTreeMap<String, String>,
}

impl Recorded {
    fn line(&self, form: Form) -> Bytes {
        let made = match form {
            Form::Old => &self.old,
            Form::New => &self.new,
            Form::Libpod => &self.libpod,
        };
        made.get_or_init(|| {
            let event = &self.event;
            let old = form != Form::New && event.kind == "container";
            let action = if form == Form::Libpod && event.action == "die" { "died" } else { &event.action };
            let wire = Wire {
                status: old.then_some(action),
                id: old.then_some(event.actor.as_str()),
                from: event.attributes.get("image").filter(|_| old).map(String::as_str),
                kind: &event.kind,
                action,
                actor: WireActor { id: &event.actor, attributes: &event.attributes },
                scope: "local",
                time: event.time.as_second(),
                time_nano: event.time.as_nanosecond(),
            };
            // Maps with string keys always serialise.
            let mut line = serde_json::to_vec(&wire).unwrap_or_default();
            line.push(b'\n');
            Bytes::from(line)
        })
        .clone()
    }
}

/// The parameters of an event stream.
#[derive(Debug)]
pub(super) struct StreamQuery {
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) filters: Filters,
    pub(super) form: Form,
}

/// The ring and the listeners. A caller with exclusive access can replay and register atomically.
#[derive(Debug)]
pub(super) struct Hub {
    ring: VecDeque<Arc<Recorded>>,
    ring_size: usize,
    queue_size: usize,
    patience: Duration,
    listeners: Vec<Arc<Listener>>,
    /// Events that skipped listeners which are gone.
    skipped_before: u64,
}

impl Hub {
    pub(super) fn new(ring_size: usize, queue_size: usize, patience: Duration) -> Self {
        let ring = VecDeque::with_capacity(ring_size);
        Self { ring, ring_size, queue_size, patience, listeners: Vec::new(), skipped_before: 0 }
    }

    pub(super) fn publish(&mut self, event: Event, fate: Fate) {
        if fate == Fate::Vanish {
            return;
        }
        let recorded =
            Arc::new(Recorded { event, old: OnceLock::new(), new: OnceLock::new(), libpod: OnceLock::new() });
        if fate != Fate::Skip {
            for listener in self.listeners.iter().filter(|l| l.query.filters.match_event(&recorded.event)) {
                listener.push(recorded.line(listener.query.form));
            }
        }
        while self.ring.len() >= self.ring_size {
            if self.ring.pop_front().is_none() {
                return;
            }
        }
        self.ring.push_back(recorded);
    }

    /// Sends a line as it is to every listener, whatever its parameters.
    pub(super) fn publish_line(&self, line: &Bytes) {
        for listener in &self.listeners {
            listener.push(line.clone());
        }
    }

    /// Returns the events of the ring that match, and a listener that receives all later ones.
    pub(super) fn register(&mut self, query: StreamQuery) -> (VecDeque<Bytes>, Arc<Listener>) {
        let mut replay = VecDeque::new();
        if query.since.is_some() || query.until.is_some() {
            let (since, until) =
                (query.since.unwrap_or(Timestamp::MIN), query.until.unwrap_or(Timestamp::MAX));
            replay = self
                .ring
                .iter()
                .filter(|old| {
                    (since..=until).contains(&old.event.time) && query.filters.match_event(&old.event)
                })
                .map(|old| old.line(query.form))
                .collect();
        }
        let listener = Arc::new(Listener {
            query,
            queue_size: self.queue_size,
            patience: self.patience,
            queue: Mutex::default(),
        });
        self.listeners.push(Arc::clone(&listener));
        (replay, listener)
    }

    pub(super) fn deregister(&mut self, listener: &Arc<Listener>) {
        if let Some(place) = self.listeners.iter().position(|other| Arc::ptr_eq(other, listener)) {
            self.listeners.swap_remove(place);
            self.skipped_before += listener.skipped();
        }
    }

    /// Ends every stream after the events that are queued for it.
    pub(super) fn end_all(&mut self) {
        for listener in &self.listeners {
            listener.end();
        }
        self.deregister_all();
    }

    /// Removes all listeners.
    pub(super) fn deregister_all(&mut self) {
        self.skipped_before = self.skipped();
        self.listeners.clear();
    }

    pub(super) fn forget(&mut self) {
        self.ring.clear();
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped_before + self.listeners.iter().map(|listener| listener.skipped()).sum::<u64>()
    }
}

/// One client's event stream, as the engine sees it.
#[derive(Debug)]
pub(super) struct Listener {
    query: StreamQuery,
    queue_size: usize,
    patience: Duration,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Bytes>,
    /// Events that found the queue full, each with the time at which it skips the listener. They wait concurrently,
    /// as events of several containers do in dockerd.
    waiting: VecDeque<(Instant, Bytes)>,
    skipped: u64,
    over: bool,
    reader: Option<Waker>,
}

impl Queue {
    fn settle(&mut self, size: usize) {
        let now = Instant::now();
        while self.waiting.front().is_some_and(|(give_up, _)| *give_up <= now) {
            self.waiting.pop_front();
            self.skipped += 1;
        }
        while self.ready.len() < size {
            let Some((_, line)) = self.waiting.pop_front() else { return };
            self.ready.push_back(line);
        }
    }
}

impl Listener {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Bytes) {
        let mut queue = self.queue();
        if queue.waiting.is_empty() && queue.ready.len() < self.queue_size {
            queue.ready.push_back(line);
        } else {
            queue.waiting.push_back((Instant::now() + self.patience, line));
            queue.settle(self.queue_size);
        }
        if let Some(reader) = queue.reader.take() {
            reader.wake();
        }
    }

    fn end(&self) {
        let mut queue = self.queue();
        queue.over = true;
        if let Some(reader) = queue.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut queue = self.queue();
        // Before the room becomes free: an event whose time has passed by now must not take it.
        queue.settle(self.queue_size);
        if let Some(line) = queue.ready.pop_front() {
            return Poll::Ready(Some(line));
        }
        if queue.over {
            return Poll::Ready(None);
        }
        queue.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn skipped(&self) -> u64 {
        let mut queue = self.queue();
        queue.settle(self.queue_size);
        queue.skipped
    }
}
