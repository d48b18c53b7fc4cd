//! The operations of Docker's API that a watch needs. Each takes the [`Session`](session::Session) that it queries.

pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod clock;
mod deferred;
mod event_stream;
mod events;
pub(crate) mod handshake;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod lives;
pub(crate) mod missed_exits;
pub(crate) mod own_api;
mod pods;
mod polling;
pub(crate) mod probe;
mod retry;
pub(crate) mod session;
pub(crate) mod stream_history;
pub(crate) mod stream_start;
mod subscription;
