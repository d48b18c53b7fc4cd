//! The parts that gRPC servers on unix sockets share: connections, calls and their hooks, answers and
//! streams, dropped and delayed events, and statistics.

mod building;
mod driven;
mod exchange;
mod fate;
mod frames;
mod hooks;
mod listening;
mod stats;
mod wire;

#[cfg(feature = "cri")]
pub(crate) use self::exchange::unknown_service;
pub(crate) use self::{
    building::{Basis, building},
    driven::driven,
    exchange::{Exchange, Host, unknown_method},
    fate::Fates,
    hooks::Hooks,
    listening::Listening,
    stats::{Requests, Stats},
    wire::{Connection, Responding, Serve},
};
pub use crate::hooks::{Arrival, HookId};

pub use self::{fate::Fate, hooks::Verdict, wire::Reception};
