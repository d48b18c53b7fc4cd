//! The statistics of the server, for tests to read and to wait for.

/// The statistics of the server at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that have arrived, answered or not.
    pub requests: Requests,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Event streams that are registered with the engine now.
    pub listeners: usize,
    /// Event streams that were ever registered.
    pub registered: u64,
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// `GET` and `HEAD /_ping`.
    pub ping: u64,
    /// `GET /version`.
    pub version: u64,
    /// `GET /info`.
    pub info: u64,
    /// `GET /containers/json`.
    pub list: u64,
    /// `GET /containers/…/json`.
    pub inspect: u64,
    /// `GET /events`.
    pub events: u64,
    /// Everything else.
    pub other: u64,
}

impl Requests {
    /// Requests of any kind.
    pub fn total(&self) -> u64 {
        self.ping + self.version + self.info + self.list + self.inspect + self.events + self.other
    }
}
