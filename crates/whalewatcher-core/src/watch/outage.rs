//! Whether subscribers were informed of an outage.

/// Whether subscribers were informed of an outage, which begins when a connection is lost or fails, and ends
/// with the next [`EventKind::Synced`](crate::EventKind::Synced).
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// There was a connection since the last `Disconnected`.
    pub(crate) connected: bool,
    pub(crate) reported: bool,
}

impl Outage {
    /// Returns whether the end of the watch has to be published: it ends a connection that subscribers consider up.
    pub(crate) fn is_news(&self) -> bool {
        self.connected && !self.reported
    }
}
