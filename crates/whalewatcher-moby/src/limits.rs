//! Limits on what an engine sends, in bytes.
//!
//! They are far above what any working engine sends. Without them, malformed answers could take all the memory of the
//! process.

use whalewatcher_core::ContainerId;

const MIB: usize = 1024 * 1024;

/// The memory that all answers in flight on one connection may take, including what a list is decoded to,
/// unless [`Builder::memory_limit`](crate::Builder::memory_limit) sets another limit: 128 MiB, enough for a
/// list of some 50,000 containers.
pub const MEMORY_LIMIT: usize = 128 * MIB;

/// The size of an answer to `/_ping`, `/version` or `/info`: 4 MiB.
pub const MAX_IDENTITY: usize = 4 * MIB;

/// The size of an answer to the inspection of one container: 64 MiB.
pub const MAX_INSPECTION: usize = 64 * MIB;

/// The size of one event: 1 MiB. Of a larger one the beginning is read, and the rest, up to 255 times as
/// much, is skipped.
pub const MAX_EVENT: usize = MIB;

/// The number of labels of a container: 262,144. One with more is unresolved.
pub const MAX_LABELS: usize = 256 * 1024;

/// The number of networks of a container: 4,096. One with more is reported without networks.
pub const MAX_NETWORKS: usize = 4096;

/// The number of ports of a container: 262,144. One with more is reported without ports.
pub const MAX_PORTS: usize = 256 * 1024;

/// The size of a container's ID: 256 bytes. Those of Docker have 64.
pub const MAX_ID: usize = ContainerId::MAX;

/// The sizes of an engine's ID and version: 8 KiB each, because every event contains them.
pub const MAX_SELF: usize = 8 * 1024;

/// The size of the body of an error.
pub(crate) const MAX_ERROR: usize = MIB / 16;

/// The size of a body that is not valid UTF-8 and is decoded all the same.
pub(crate) const MAX_DAMAGED: usize = 4 * MIB;

/// What one label takes besides its text.
pub(crate) const LABEL: usize = 128;

/// What one container of a list takes besides its text and labels, including while it is inspected.
pub(crate) const ENTRY: usize = 1024;

/// How many times the limit of a line is skipped in search of its end.
pub(crate) const ENDLESS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_as_documented() {
        assert_eq!([MEMORY_LIMIT, MAX_IDENTITY, MAX_INSPECTION], [134_217_728, 4_194_304, 67_108_864]);
        assert_eq!([MAX_EVENT, MAX_LABELS, MAX_ERROR], [1_048_576, 262_144, 65_536]);
        assert_eq!([MAX_NETWORKS, MAX_PORTS], [4_096, 262_144]);
    }
}
