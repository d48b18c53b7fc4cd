//! Events of the CRI: their subscribers, and what happens to events without one.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prost::Message;
use tokio::sync::mpsc;
use whalewatcher_api::cri::v1::ContainerEventResponse;

use crate::grpc::Fates;

use super::flavour::Flavour;

/// How long containerd 2 keeps events without a subscriber.
const KEPT: SignedDuration = SignedDuration::from_mins(5);

/// How many events fit the queue of containerd 1.7 and of CRI-O; those that come when it is full are lost.
const QUEUE: usize = 1000;

/// The events and their subscribers.
#[derive(Default)]
pub(super) struct Hub {
    pub(super) fates: Fates<ContainerEventResponse>,
    audience: Audience,
}

#[derive(Default)]
struct Audience {
    subscribers: BTreeMap<u64, mpsc::UnboundedSender<Bytes>>,
    last: u64,
    /// The subscriber that received the last event, where they take turns.
    served: u64,
    kept: VecDeque<(Timestamp, Bytes)>,
    /// Whether there ever was a subscriber.
    met: bool,
}

impl Hub {
    pub(super) fn subscribe(
        &mut self,
        flavour: Flavour,
        now: Timestamp,
    ) -> (u64, mpsc::UnboundedReceiver<Bytes>) {
        let (queue, events) = mpsc::unbounded_channel();
        let audience = &mut self.audience;
        for (at, event) in audience.kept.drain(..) {
            if flavour != Flavour::Containerd2_1 || now.duration_since(at) <= KEPT {
                // Its other end is here.
                let _ = queue.send(event);
            }
        }
        audience.met = true;
        audience.last += 1;
        audience.subscribers.insert(audience.last, queue);
        (audience.last, events)
    }

    pub(super) fn unsubscribe(&mut self, id: u64) {
        self.audience.subscribers.remove(&id);
    }

    /// Another process of the runtime knows nothing of what the former one kept.
    pub(super) fn forget(&mut self) {
        self.audience.kept.clear();
        self.audience.met = false;
    }

    pub(super) fn publish(&mut self, flavour: Flavour, now: Timestamp, event: ContainerEventResponse) {
        let Self { fates, audience } = self;
        fates.pass(event, |event| audience.deliver(flavour, now, event.encode_to_vec().into()));
    }
}

impl Audience {
    fn deliver(&mut self, flavour: Flavour, now: Timestamp, event: Bytes) {
        match flavour {
            Flavour::Containerd1_6 | Flavour::Crio | Flavour::CriDockerd => {}
            Flavour::Containerd1_7 => match self.next() {
                Some(next) => {
                    let _ = next.send(event);
                }
                None => self.keep(now, event),
            },
            Flavour::Containerd2_1 if self.subscribers.is_empty() => self.kept.push_back((now, event)),
            Flavour::CrioWithEvents if !self.met => self.keep(now, event),
            Flavour::Containerd2_1 | Flavour::CrioWithEvents => {
                for subscriber in self.subscribers.values() {
                    // One that has gone will be unsubscribed in a moment.
                    let _ = subscriber.send(event.clone());
                }
            }
        }
    }

    /// The one after the one that was served last.
    fn next(&mut self) -> Option<&mpsc::UnboundedSender<Bytes>> {
        let later = (Bound::Excluded(self.served), Bound::Unbounded);
        let next = self.subscribers.range(later).next().or_else(|| self.subscribers.iter().next());
        let (id, queue) = next?;
        self.served = *id;
        Some(queue)
    }

    fn keep(&mut self, now: Timestamp, event: Bytes) {
        if self.kept.len() < QUEUE {
            self.kept.push_back((now, event));
        }
    }
}
