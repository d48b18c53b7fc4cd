//! How large what an engine sends may be, in bytes. What is larger is refused, for memory is finite.
//!
//! They are far above anything an engine in its senses sends, and only there to end with a reason what would
//! otherwise end with the process.

use whalewatcher_core::ContainerId;

const MIB: usize = 1024 * 1024;

/// What all answers that are under way on one connection take of memory, the list with what is made of it included, unless
/// [`Builder::memory_limit`](crate::Builder::memory_limit) says otherwise: 128 MiB, which is a list of some 50,000 containers.
pub const MEMORY_LIMIT: usize = 128 * MIB;

/// What `/_ping`, `/version` and `/info` may answer: 4 MiB.
pub const MAX_IDENTITY: usize = 4 * MIB;

/// What the inspection of one container may answer: 64 MiB.
pub const MAX_INSPECTION: usize = 64 * MIB;

/// One event: 1 MiB. Of a larger one the beginning is looked at, and the rest, up to 255 times as much, is passed over.
pub const MAX_EVENT: usize = MIB;

/// How many labels a container may have: 262,144. One with more cannot be inspected.
pub const MAX_LABELS: usize = 256 * 1024;

/// The ID of a container: 256 bytes. Docker's have 64.
pub const MAX_ID: usize = ContainerId::MAX;

/// What an engine calls itself, and the version it tells: 8 KiB each, for they are told with every event.
pub const MAX_SELF: usize = 8 * 1024;

/// What an error may have to say.
pub(crate) const MAX_COMPLAINT: usize = MIB / 16;

/// What is not valid UTF-8 is not looked at if it is larger.
pub(crate) const MAX_DAMAGED: usize = 4 * MIB;

/// What one label takes beside its text.
pub(crate) const LABEL: usize = 128;

/// What one container of a list takes beside its text and labels, also while it is inspected.
pub(crate) const ENTRY: usize = 1024;

/// How many times the limit of a line is passed over in search of its end.
pub(crate) const ENDLESS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_as_documented() {
        assert_eq!([MEMORY_LIMIT, MAX_IDENTITY, MAX_INSPECTION], [134_217_728, 4_194_304, 67_108_864]);
        assert_eq!([MAX_EVENT, MAX_LABELS, MAX_COMPLAINT], [1_048_576, 262_144, 65_536]);
    }
}
