//! Events and their subscribers. As in containerd, the queues have no limit, and nothing is kept for later subscribers.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use prost::{Message, Name};
use prost_types::Any;
use tokio::sync::mpsc;
use whalewatcher_api::containerd::types::Envelope;

use crate::grpc::Fates;

use super::filters::{Fields, Filters};

/// One event of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Where it happened.
    pub namespace: String,
    /// Such as `/tasks/start`.
    pub topic: String,
    /// The ID of the container within its namespace, if the event concerns one.
    pub container: Option<String>,
    /// Of an event of a task: the ID of the process, which differs from the container's for one started by exec.
    pub process: Option<String>,
    /// What [`value`](Self::value) is, such as `containerd.events.TaskStart`.
    pub type_url: String,
    /// The encoded message.
    pub value: Vec<u8>,
    /// By the engine's clock.
    pub time: Timestamp,
}

impl Event {
    pub(super) fn of<M: Message + Name>(namespace: &str, topic: &str, message: &M) -> Self {
        Self {
            namespace: namespace.into(),
            topic: topic.into(),
            container: None,
            process: None,
            // Without the slash that an Any should have, as containerd's typeurl writes it.
            type_url: M::full_name(),
            value: message.encode_to_vec(),
            time: Timestamp::MIN,
        }
    }

    /// Returns the container that the event concerns.
    pub(super) fn about(mut self, container: &str) -> Self {
        self.container = Some(container.into());
        self
    }

    /// Returns the process that the event concerns.
    pub(super) fn process(mut self, process: &str) -> Self {
        self.process = Some(process.into());
        self
    }

    fn envelope(&self) -> Bytes {
        let event = Any { type_url: self.type_url.clone(), value: self.value.clone() };
        let envelope = Envelope {
            timestamp: Some(timestamp(self.time)),
            namespace: self.namespace.clone(),
            topic: self.topic.clone(),
            event: Some(event),
        };
        envelope.encode_to_vec().into()
    }
}

impl Fields for Event {
    fn field(&self, path: &[String]) -> Option<String> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let value = match path[..] {
            ["namespace"] => Some(self.namespace.clone()),
            ["topic"] => Some(self.topic.clone()),
            // Of containers' events it is `id`, of tasks' events `container_id`, and `id` is the process.
            ["event", "id"] if self.topic.starts_with("/containers/") => self.container.clone(),
            ["event", "id"] => self.process.clone(),
            ["event", "container_id"] if self.topic.starts_with("/tasks/") => self.container.clone(),
            _ => None,
        };
        value.filter(|value| !value.is_empty())
    }
}

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// The subscribers, and the decisions about events.
#[derive(Default)]
pub(super) struct Hub {
    subscribers: BTreeMap<u64, Subscriber>,
    last: u64,
    pub(super) fates: Fates<Event>,
}

struct Subscriber {
    filters: Filters,
    queue: mpsc::UnboundedSender<Bytes>,
}

impl Hub {
    pub(super) fn subscribe(&mut self, filters: Filters) -> (u64, mpsc::UnboundedReceiver<Bytes>) {
        let (queue, events) = mpsc::unbounded_channel();
        self.last += 1;
        self.subscribers.insert(self.last, Subscriber { filters, queue });
        (self.last, events)
    }

    pub(super) fn unsubscribe(&mut self, id: u64) {
        self.subscribers.remove(&id);
    }

    pub(super) fn publish(&mut self, event: Event) {
        let subscribers = &self.subscribers;
        self.fates.pass(event, |event| {
            let envelope = event.envelope();
            for subscriber in subscribers.values().filter(|subscriber| subscriber.filters.matches(event)) {
                // A subscriber that is gone is removed soon.
                let _ = subscriber.queue.send(envelope.clone());
            }
        });
    }
}
