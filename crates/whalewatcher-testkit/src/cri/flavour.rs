//! Which CRI runtime the server plays.

use crate::containerd;

/// The runtime to be played, by what a watcher could notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// containerd 1.6, which does not know `GetContainerEvents`.
    Containerd1_6,
    /// containerd 1.7: all subscribers share one queue, and each event goes to only one of them.
    Containerd1_7,
    /// containerd 2.1: each subscriber receives all events. Events without a subscriber are kept for the next
    /// one, for five minutes.
    #[default]
    Containerd2_1,
    /// CRI-O as it is by default: the event stream ends at once.
    Crio,
    /// CRI-O with `enable_pod_events`: each subscriber receives all events. Those before the first
    /// subscription are kept for it.
    CrioWithEvents,
    /// cri-dockerd, with Docker behind it: it has no events, and its verbose statuses contain no PID.
    CriDockerd,
}

impl Flavour {
    /// containerd, if it is a part of that.
    pub(super) fn containerd(self) -> Option<containerd::Flavour> {
        match self {
            Self::Containerd1_6 => Some(containerd::Flavour::V1_6),
            Self::Containerd1_7 => Some(containerd::Flavour::V1_7),
            Self::Containerd2_1 => Some(containerd::Flavour::V2_1),
            Self::Crio | Self::CrioWithEvents | Self::CriDockerd => None,
        }
    }

    pub(super) fn is_crio(self) -> bool {
        matches!(self, Self::Crio | Self::CrioWithEvents)
    }

    pub(super) fn reports_events(self) -> bool {
        !matches!(self, Self::Containerd1_6 | Self::Crio | Self::CriDockerd)
    }

    pub(super) fn runtime_name(self) -> &'static str {
        match self {
            Self::Containerd1_6 | Self::Containerd1_7 | Self::Containerd2_1 => "containerd",
            Self::Crio | Self::CrioWithEvents => "cri-o",
            Self::CriDockerd => "docker",
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Containerd1_6 => "1.6.20",
            Self::Containerd1_7 => "1.7.24",
            Self::Containerd2_1 => "v2.1.9",
            Self::Crio | Self::CrioWithEvents => "1.33.4",
            Self::CriDockerd => "28.5.2",
        }
    }

    /// The largest message that it sends, in bytes.
    pub(super) fn largest_message(self) -> usize {
        let mebibytes = if self.is_crio() { 80 } else { 16 };
        mebibytes * 1024 * 1024
    }
}
