//! The operations of Docker's API that a watch needs.

pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod handshake;
pub(crate) mod kept;
pub(crate) mod lives;
pub(crate) mod polling;
pub(crate) mod probe;
