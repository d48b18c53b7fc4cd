//! What an adapter implements: the traits, and apart from them the plain data that passes through them.

mod client;
mod event;
mod listing;

pub use client::{EngineClient, EngineConnection};
pub use event::{ChangeSource, EngineEvent};
pub(crate) use listing::UnlistedScopes;
pub use listing::{Listing, ListingEntry, Unlisted};
