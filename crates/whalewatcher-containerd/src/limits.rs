//! The limits of containerd's answers. All together take at most 128 MiB, or the
//! [configured](crate::Builder::memory) memory; a larger answer is an error.
//!
//! By default containerd sends no message larger than 16 MiB.

use whalewatcher_adapter::containerd::{MAX_CONTAINER, MAX_EVENT, MAX_TASKS};
use whalewatcher_adapter::grpc::{Fields, Limit, Memory};
use whalewatcher_api::containerd::services::containers::v1::Container;
use whalewatcher_api::containerd::v1::types::Process;

const MIB: usize = 1024 * 1024;

/// The largest answer about containerd itself or about its namespaces, in bytes: 4 MiB.
pub const MAX_IDENTITY: usize = Limit::SMALL.bytes;

/// The largest list of all containers of one namespace, where containerd cannot stream it; also the most
/// memory for the names and labels of all live containers, in all namespaces. In bytes: 24 MiB by default.
pub const MAX_LIST: usize = 24 * MIB;

/// The largest task, in bytes: 256 KiB at most.
const MAX_TASK: usize = MIB / 4;

/// The memory that an entry of a map takes.
const ENTRY: usize = 256;

/// The memory that containerd's answers may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits(Memory);

impl Limits {
    pub(crate) fn new(memory: usize) -> Self {
        Self(Memory::new(memory))
    }

    pub(crate) fn container(self) -> Limit {
        self.limit(MAX_CONTAINER, 8 * MIB, ENTRY)
    }

    /// Never large, however much memory is configured: it is read at the same time as the record, which may
    /// block all other large answers.
    pub(crate) fn task(self) -> Limit {
        let limit = self.limit(MAX_TASK, MAX_TASK, 2 * size_of::<Process>());
        Limit { bytes: limit.bytes.min(MAX_TASK), decoded: limit.decoded.min(MAX_TASK), ..limit }
    }

    /// The limit for the names, labels and images of all live containers.
    pub(crate) fn kept(self) -> usize {
        self.list().bytes
    }

    pub(crate) fn tasks(self) -> Limit {
        self.limit(MAX_TASKS, MAX_TASKS, 2 * size_of::<Process>())
    }

    pub(crate) fn list(self) -> Limit {
        self.limit(MAX_LIST, MAX_LIST, 2 * size_of::<Container>())
    }

    pub(crate) fn event(self) -> Limit {
        self.limit(MAX_EVENT, MAX_EVENT, ENTRY)
    }

    fn limit(self, bytes: usize, decoded: usize, outer: usize) -> Limit {
        self.0.limit(Limit { bytes, decoded, fields: Fields { outer, inner: ENTRY } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_never_large() {
        for (memory, bytes) in [(MIB, MAX_TASK / 128), (128 * MIB, MAX_TASK), (usize::MAX, MAX_TASK)] {
            let limit = Limits::new(memory).task();
            assert!(limit.bytes == bytes && limit.decoded <= MAX_TASK, "{memory}: {limit:?}");
        }
    }
}
