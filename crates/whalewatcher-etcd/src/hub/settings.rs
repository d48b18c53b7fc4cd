//! How a hub follows.

use std::time::Duration;

use whalewatcher_core::Settings;

/// The least time after which a silent host is forgotten: an agent shows itself once an hour.
const MIN_SILENCE: Duration = Duration::from_secs(2 * 3_600);

/// How a [`Hub`](crate::Hub) follows what hosts publish. Made of the settings with which it watches each engine.
#[derive(Clone, Debug)]
pub struct HubSettings {
    pub(super) watchers: Settings,
    pub(super) forget_after: Option<Duration>,
}

impl HubSettings {
    /// Has the engines of a host leave once the host has been silent for so long, at least two hours: since
    /// its agent wrote last, by the host's clock, or since the hub saw its agent go, whichever is later. They
    /// join again when the host has an agent again. Nothing in etcd is changed; [`forget`](crate::forget)
    /// does that. By default hosts are not forgotten.
    #[must_use]
    pub fn with_forget_after(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.forget_after = silence.into().map(|silence| silence.max(MIN_SILENCE));
        self
    }
}

impl Default for HubSettings {
    fn default() -> Self {
        Settings::default().into()
    }
}

impl From<Settings> for HubSettings {
    fn from(watchers: Settings) -> Self {
        Self { watchers, forget_after: None }
    }
}
