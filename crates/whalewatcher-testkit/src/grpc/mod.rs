//! What engines that speak gRPC on a unix socket have in common: connections, calls on their way through the hooks to
//! answers or streams of them, what becomes of events, counting.

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
