//! What the server counts, for tests to read and to wait for.

use super::call::Method;

/// What the server has seen so far, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that have arrived, answered or not.
    pub requests: Requests,
    /// Connections taken since the start.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Subscriptions to events that are registered with the engine now.
    pub subscriptions: usize,
    /// Subscriptions that were ever registered.
    pub subscribed: u64,
}

/// Requests by method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// `Namespaces.List`
    pub namespaces_list: u64,
    /// `Containers.Get`
    pub containers_get: u64,
    /// `Containers.List`
    pub containers_list: u64,
    /// `Containers.ListStream`
    pub containers_list_stream: u64,
    /// `Tasks.Get`
    pub tasks_get: u64,
    /// `Tasks.List`
    pub tasks_list: u64,
    /// `Events.Subscribe`
    pub subscribe: u64,
    /// `Events.Publish`
    pub publish: u64,
    /// `Introspection.Server`
    pub server: u64,
    /// `Version.Version`
    pub version: u64,
    /// Everything else.
    pub other: u64,
}

impl Requests {
    /// Requests of any kind.
    pub fn total(&self) -> u64 {
        self.namespaces_list
            + self.containers_get
            + self.containers_list
            + self.containers_list_stream
            + self.tasks_get
            + self.tasks_list
            + self.subscribe
            + self.publish
            + self.server
            + self.version
            + self.other
    }

    pub(super) fn count(&mut self, method: Method) {
        let counter = match method {
            Method::NamespacesList => &mut self.namespaces_list,
            Method::ContainersGet => &mut self.containers_get,
            Method::ContainersList => &mut self.containers_list,
            Method::ContainersListStream => &mut self.containers_list_stream,
            Method::TasksGet => &mut self.tasks_get,
            Method::TasksList => &mut self.tasks_list,
            Method::Subscribe => &mut self.subscribe,
            Method::Publish => &mut self.publish,
            Method::Server => &mut self.server,
            Method::Version => &mut self.version,
            Method::Other => &mut self.other,
        };
        *counter += 1;
    }
}
