//! How large an answer may be. What is larger is an error, for memory is finite: whatever the runtime sends, it costs no more
//! than 128 MiB, or what is [configured](crate::Builder::memory).
//!
//! By default containerd sends no message larger than 16 MiB, and CRI-O none larger than 80 MiB, which only a list comes
//! near.

use whalewatcher_adapter::grpc::{Fields, Limit, Memory};
#[cfg(feature = "containerd")]
use whalewatcher_api::containerd::v1::types::Process;
use whalewatcher_api::cri::v1::{Container, ContainerStatus, Mount};
use whalewatcher_core::ContainerId;

const MIB: usize = 1024 * 1024;

/// The size of what the runtime reports of itself, in bytes: 4 MiB.
pub const MAX_IDENTITY: usize = Limit::SMALL.bytes;

/// The size of the status of one container or sandbox, with its specification, in bytes: 16 MiB by default.
pub const MAX_STATUS: usize = 16 * MIB;

/// The size of a list, of containers or of sandboxes, in bytes: 12 MiB each by default.
pub const MAX_LIST: usize = 12 * MIB;

/// The size of one event, with the states of all containers of a pod, in bytes: 8 MiB by default.
pub const MAX_EVENT: usize = 8 * MIB;

/// How long an ID may be: 256 bytes.
pub const MAX_ID: usize = ContainerId::MAX;

/// The size of the status of a sandbox, where only its pod is of interest: 4 MiB by default.
const MAX_POD: usize = 4 * MIB;

/// An entry of a map.
const ENTRY: usize = 256;

/// What the runtime may cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits(Memory);

impl Limits {
    pub(crate) fn new(memory: usize) -> Self {
        Self(Memory::new(memory))
    }

    pub(crate) fn status(self) -> Limit {
        self.limit(MAX_STATUS, 8 * MIB, ENTRY, 2 * size_of::<Mount>())
    }

    /// Of a sandbox that is asked for while a container's status is in use, for its pod: Kubernetes takes no more than 256 KiB of
    /// annotations.
    pub(crate) fn pod(self) -> Limit {
        self.limit(MAX_POD, MAX_POD, ENTRY, ENTRY)
    }

    /// The names and labels of all that is alive.
    pub(crate) fn kept(self) -> usize {
        2 * self.list().bytes
    }

    pub(crate) fn list(self) -> Limit {
        self.limit(MAX_LIST, 2 * MAX_LIST, 2 * size_of::<Container>(), ENTRY)
    }

    pub(crate) fn event(self) -> Limit {
        self.limit(MAX_EVENT, 2 * MAX_EVENT, 2 * size_of::<ContainerStatus>(), 2 * size_of::<Mount>())
    }

    /// Of containerd's records of a container, and of its tasks.
    #[cfg(feature = "containerd")]
    pub(crate) fn containerd(self, bytes: usize) -> Limit {
        self.limit(bytes, MAX_EVENT, 2 * size_of::<Process>(), ENTRY)
    }

    fn limit(self, bytes: usize, decoded: usize, outer: usize, inner: usize) -> Limit {
        self.0.limit(Limit { bytes, decoded, fields: Fields { outer, inner } })
    }
}
