//! How large an answer may be, in bytes. What is larger is an error, for memory is finite.
//!
//! containerd itself sends no message larger than 16 MiB unless it is configured to. These are far above, and only there
//! to end with a reason what would otherwise end with the process.

const MIB: usize = 1024 * 1024;

/// What containerd may tell of itself: 4 MiB.
pub const MAX_IDENTITY: usize = 4 * MIB;

/// What it may tell of one container, with its specification: 64 MiB.
pub const MAX_CONTAINER: usize = 64 * MIB;

/// What it may list at once, of one namespace: 256 MiB.
pub const MAX_LIST: usize = 256 * MIB;

/// One event: 16 MiB.
pub const MAX_EVENT: usize = 16 * MIB;
