//! What subscribers know of an outage.

/// What subscribers know of an outage. One begins when a connection is lost or could not be had, and ends with the next
/// [`EventKind::Synced`](crate::EventKind::Synced).
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// There was a connection since the last report.
    pub(crate) connected: bool,
    pub(crate) reported: bool,
}

impl Outage {
    /// Whether the end of the watch is the end of a connection that subscribers believe in.
    pub(crate) fn is_news(&self) -> bool {
        self.connected && !self.reported
    }
}
