//! The runtime: its sandboxes, containers and events. Each change and its events happen

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use whalewatcher_api::cri::v1::{ContainerEventResponse, ContainerEventType};

use crate::{containerd::Beneath, grpc::Fates};

use super::{
    Error,
    events::Hub,
    flavour::Flavour,
    messages::{container_status, nanoseconds, sandbox_status},
    record::Record,
    spec::Alive,
};

/// The label by which CRI-O finds a pod's containers for its events.
pub(super) const POD_UID: &str = "io.kubernetes.pod.uid";

/// The runtime behind the service.
pub(super) struct Engine(Mutex<State>);

/// Everything that changes, to be had from [`Engine::lock`].
pub(super) struct State {
    /// Owns the tasks, also where clients cannot see it.
    pub(super) containerd: Arc<Beneath>,
    pub(super) flavour: Flavour,
    /// Whether the runtime is running. While it is not, there are no events.
    present: bool,
    records: BTreeMap<Arc<str>, Record>,
    /// The IDs of sandboxes, each with the ID of one of its containers.
    members: BTreeSet<(Arc<str>, Arc<str>)>,
    hub: Hub,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn new(containerd: Arc<Beneath>, flavour: Flavour) -> Self {
        let (records, members, hub) = (BTreeMap::new(), BTreeSet::new(), Hub::default());
        let state = State { containerd, flavour, present: true, records, members, hub };
        Self(Mutex::new(state))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an ID or its beginning names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    Empty,
    Unknown,
    Ambiguous,
}

/// Looking.
impl State {
    /// Returns what an ID, or the beginning of one, selects.
    pub(super) fn look_up(&self, id: &str, sandbox: bool) -> Result<&Record, Unnamed> {
        let reported = |record: &&Record| record.is_sandbox() == sandbox && record.is_reported();
        if id.is_empty() {
            return Err(Unnamed::Empty);
        }
        if let Some(record) = self.records.get(id).filter(reported) {
            return Ok(record);
        }
        let from = (Bound::Included(id), Bound::Unbounded);
        let from = self.records.range::<str, _>(from).map(|(_, record)| record);
        let mut found = from.take_while(|record| record.id.starts_with(id)).filter(reported);
        match (found.next(), found.next()) {
            (Some(record), None) => Ok(record),
            (None, _) => Err(Unnamed::Unknown),
            (Some(_), Some(_)) => Err(Unnamed::Ambiguous),
        }
    }

    /// The ID that begins so, of a container or a sandbox.
    pub(super) fn complete(&self, beginning: &str) -> Result<Arc<str>, Unnamed> {
        let container = self.look_up(beginning, false);
        let record = container.or_else(|_| self.look_up(beginning, true))?;
        Ok(Arc::clone(&record.id))
    }

    /// Returns the visible ones, by ID.
    pub(super) fn reported(&self, sandboxes: bool) -> impl Iterator<Item = &Record> {
        self.records.values().filter(move |record| record.is_sandbox() == sandboxes && record.is_reported())
    }

    pub(super) fn find(&self, id: &str) -> Result<&Record, Error> {
        self.records.get(id).ok_or_else(|| Error::NotFound(id.into()))
    }

    /// Returns the visible containers of a sandbox, by ID.
    pub(super) fn containers_of(&self, sandbox: &str) -> impl Iterator<Item = &Record> {
        let from = (Arc::from(sandbox), Arc::from(""));
        let members = self.members.range(from..).take_while(move |(of, _)| **of == *sandbox);
        let records = members.filter_map(|(_, id)| self.records.get(id));
        records.filter(|record| record.is_reported())
    }

    pub(super) fn truth(&self) -> Vec<Alive> {
        self.records.values().filter_map(Record::alive).collect()
    }
}

/// What the transitions are made of.
impl State {
    pub(super) fn find_mut(&mut self, id: &str) -> Result<&mut Record, Error> {
        self.records.get_mut(id).ok_or_else(|| Error::NotFound(id.into()))
    }

    pub(super) fn add(&mut self, record: Record) -> Result<(), Error> {
        match self.records.entry(Arc::clone(&record.id)) {
            Entry::Occupied(entry) => Err(Error::impossible(entry.key().to_string(), "exists already")),
            Entry::Vacant(entry) => {
                if let Some(sandbox) = &record.sandbox {
                    self.members.insert((Arc::clone(sandbox), Arc::clone(&record.id)));
                }
                entry.insert(record);
                Ok(())
            }
        }
    }

    pub(super) fn forget(&mut self, id: &str) {
        let Some(record) = self.records.remove(id) else { return };
        if let Some(sandbox) = record.sandbox {
            self.members.remove(&(sandbox, record.id));
        }
    }
}

/// Events.
impl State {
    /// Emits the event of a change of a sandbox or a container, with the statuses of its whole pod.
    pub(super) fn report(&mut self, what: ContainerEventType, id: &str, sandbox: &str) {
        let status = self.look_up(sandbox, true).ok();
        // CRI-O emits no events for sandboxes that it does not list.
        let nothing = status.is_none() && self.flavour.is_crio();
        if !self.present || !self.flavour.reports_events() || nothing {
            return;
        }
        let uid = status.map(|record| record.pod.uid.as_str());
        let has_uid = |record: &&Record| record.labels.get(POD_UID).map(String::as_str) == uid;
        let containers_statuses = match self.flavour.is_crio() {
            true => self.reported(false).filter(has_uid).map(container_status).collect(),
            false => self.containers_of(sandbox).map(container_status).collect(),
        };
        let event = ContainerEventResponse {
            container_id: id.into(),
            container_event_type: what.into(),
            created_at: nanoseconds(self.containerd.tick()),
            pod_sandbox_status: status.map(sandbox_status),
            containers_statuses,
        };
        self.emit(event);
    }

    pub(super) fn emit(&mut self, event: ContainerEventResponse) {
        let now = self.now();
        self.hub.publish(self.flavour, now, event);
    }

    pub(super) fn subscribe(&mut self) -> (u64, mpsc::UnboundedReceiver<Bytes>) {
        let now = self.now();
        self.hub.subscribe(self.flavour, now)
    }

    pub(super) fn unsubscribe(&mut self, id: u64) {
        self.hub.unsubscribe(id);
    }

    pub(super) fn fates(&mut self) -> &mut Fates<ContainerEventResponse> {
        &mut self.hub.fates
    }

    /// The runtime is there or not. What it kept for subscribers is lost with it.
    pub(super) fn set_present(&mut self, present: bool) {
        self.present = present;
        self.hub.forget();
    }

    pub(super) fn become_flavour(&mut self, flavour: Flavour) {
        self.flavour = flavour;
        self.hub.forget();
        if let Some(containerd) = flavour.containerd() {
            self.containerd.become_flavour(containerd);
        }
    }

    fn now(&self) -> Timestamp {
        self.containerd.clock().now()
    }
}
