//! The limits of containerd's messages.

use crate::grpc::{Fields, Limit};

const MIB: usize = 1024 * 1024;

/// The size of the record of one container, with its specification, in bytes: 16 MiB by default.
pub const MAX_CONTAINER: usize = 16 * MIB;

/// The size of a list of all tasks of one namespace, in bytes: 8 MiB by default.
pub const MAX_TASKS: usize = 8 * MIB;

/// The size of one event, in bytes: 4 MiB by default.
pub const MAX_EVENT: usize = 4 * MIB;

/// The memory that an entry of a map takes.
const ENTRY: usize = 256;

/// The default limit of one event.
pub(super) const EVENT: Limit =
    Limit { bytes: MAX_EVENT, decoded: MAX_EVENT, fields: Fields { outer: ENTRY, inner: ENTRY } };
