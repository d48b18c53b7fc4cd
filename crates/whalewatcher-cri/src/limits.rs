//! The limits of a runtime's answers. All together take at most 128 MiB, or the
//! [configured](crate::Builder::memory) memory; a larger answer is an error.
//!
//! By default containerd sends no message larger than 16 MiB, and CRI-O none larger than 80 MiB, which only a
//! list comes near.

use whalewatcher_adapter::grpc::{Fields, Limit, Memory};
#[cfg(feature = "containerd")]
use whalewatcher_api::containerd::v1::types::Process;
use whalewatcher_api::cri::v1::{Container, ContainerStatus, Mount};
use whalewatcher_core::ContainerId;

const MIB: usize = 1024 * 1024;

/// The largest answer about the runtime itself, in bytes: 4 MiB.
pub const MAX_IDENTITY: usize = Limit::SMALL.bytes;

/// The largest status of one container or sandbox, with its specification, in bytes: 16 MiB by default.
pub const MAX_STATUS: usize = 16 * MIB;

/// The largest list of containers or of sandboxes, in bytes: 12 MiB each by default.
pub const MAX_LIST: usize = 12 * MIB;

/// The largest event, with the statuses of all containers of a pod, in bytes: 8 MiB by default.
pub const MAX_EVENT: usize = 8 * MIB;

/// The longest ID, in bytes: 256.
pub const MAX_ID: usize = ContainerId::MAX;

/// The largest status of a sandbox that is requested for its pod only, in bytes: 4 MiB by default.
const MAX_POD: usize = 4 * MIB;

/// The memory that an entry of a map takes.
const ENTRY: usize = 256;

/// The memory that a runtime's answers may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits(Memory);

impl Limits {
    pub(crate) fn new(memory: usize) -> Self {
        Self(Memory::new(memory))
    }

    pub(crate) fn status(self) -> Limit {
        self.limit(MAX_STATUS, 8 * MIB, ENTRY, 2 * size_of::<Mount>())
    }

    /// The limit for a sandbox that is requested for its pod while a container's status is in use. Kubernetes
    /// allows at most 256 KiB of annotations.
    pub(crate) fn pod(self) -> Limit {
        self.limit(MAX_POD, MAX_POD, ENTRY, ENTRY)
    }

    /// The limit for the names, labels and images of all live containers.
    pub(crate) fn kept(self) -> usize {
        2 * self.list().bytes
    }

    pub(crate) fn list(self) -> Limit {
        self.limit(MAX_LIST, 2 * MAX_LIST, 2 * size_of::<Container>(), ENTRY)
    }

    pub(crate) fn event(self) -> Limit {
        self.limit(MAX_EVENT, 2 * MAX_EVENT, 2 * size_of::<ContainerStatus>(), 2 * size_of::<Mount>())
    }

    /// The limit for containerd's records and tasks.
    #[cfg(feature = "containerd")]
    pub(crate) fn containerd(self, bytes: usize) -> Limit {
        self.limit(bytes, MAX_EVENT, 2 * size_of::<Process>(), ENTRY)
    }

    fn limit(self, bytes: usize, decoded: usize, outer: usize, inner: usize) -> Limit {
        self.0.limit(Limit { bytes, decoded, fields: Fields { outer, inner } })
    }
}
