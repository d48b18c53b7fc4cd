//! The interface to adapters: plain data in `event` and `listing`, and the asynchronous traits in `client`.

mod client;
mod erased;
mod event;
mod listing;

pub use client::{EngineClient, EngineConnection};
pub(crate) use erased::{ErasedClient, ErasedConnection};
pub use event::{ChangeSource, EngineEvent};
pub(crate) use listing::UnlistedScopes;
pub use listing::{Listing, ListingEntry, Unlisted};
