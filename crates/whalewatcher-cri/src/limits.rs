//! How large an answer may be, in bytes. What is larger is an error, for memory is finite.
//!
//! By default containerd sends no message larger than 16 MiB, and CRI-O none larger than 80 MiB, which only a list comes
//! near. These limits are there to end with a reason what would otherwise end with the process.

use whalewatcher_core::ContainerId;

const MIB: usize = 1024 * 1024;

/// What the runtime may tell of itself: 4 MiB.
pub const MAX_IDENTITY: usize = 4 * MIB;

/// What it may tell of one container or sandbox, with its specification: 64 MiB.
pub const MAX_STATUS: usize = 64 * MIB;

/// What it may list at once: 256 MiB.
pub const MAX_LIST: usize = 256 * MIB;

/// One event, with the states of all containers of a pod: 64 MiB.
pub const MAX_EVENT: usize = 64 * MIB;

/// How long an ID may be: 256 bytes.
pub const MAX_ID: usize = ContainerId::MAX;
