//! How large what an engine sends may be, in bytes. What is larger is refused, for memory is finite.
//!
//! They are far above anything an engine in its senses sends, and only there to end with a reason what would
//! otherwise end with the process.

use whalewatcher_core::ContainerId;

const MIB: usize = 1024 * 1024;

/// What `/_ping`, `/version` and `/info` may answer: 4 MiB.
pub const MAX_IDENTITY: usize = 4 * MIB;

/// What the inspection of one container may answer: 64 MiB.
pub const MAX_INSPECTION: usize = 64 * MIB;

/// What the list of all containers may answer: 1 GiB, which is hundreds of thousands of them.
pub const MAX_LIST: usize = 1024 * MIB;

/// One event: 16 MiB. Of a larger one the beginning is looked at, and the rest, up to 15 times as much, is passed over.
pub const MAX_EVENT: usize = 16 * MIB;

/// The ID of a container: 256 bytes. Docker's have 64.
pub const MAX_ID: usize = ContainerId::MAX;

/// What an engine calls itself, and the version it tells: 8 KiB each, for they are told with every event.
pub const MAX_SELF: usize = 8 * 1024;

/// What an error may have to say.
pub(crate) const MAX_COMPLAINT: usize = MIB / 16;

/// How many times the limit of a line is passed over in search of its end.
pub(crate) const ENDLESS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_as_documented() {
        assert_eq!([MAX_IDENTITY, MAX_INSPECTION], [4_194_304, 67_108_864]);
        assert_eq!([MAX_LIST, MAX_EVENT, MAX_COMPLAINT], [1_073_741_824, 16_777_216, 65_536]);
    }
}
