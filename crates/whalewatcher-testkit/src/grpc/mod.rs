//! The parts that gRPC servers on unix sockets share: connections, calls and their hooks, answers and streams, dropped and
//! delayed events, and statistics.

mod counting;
mod exchange;
mod fate;
mod frames;
mod hooks;
mod listening;
mod wire;

#[cfg(feature = "cri")]
pub(crate) use self::exchange::unknown_service;
pub(crate) use self::{
    counting::Counting,
    exchange::{Exchange, Host, unknown_method},
    fate::Fates,
    hooks::Hooks,
    listening::Listening,
    wire::{Connection, Responding, Serve},
};
pub use self::{
    fate::Fate,
    hooks::{Arrival, HookId, Verdict},
    wire::Reception,
};
