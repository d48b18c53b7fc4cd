//! The watcher: it keeps the portfolio of one engine in sync, and publishes it to readers and subscribers.

mod call;
mod connected;
mod driver;
mod early;
mod engine_clock;
mod error;
mod guard;
mod handle;
mod in_flight;
mod outage;
mod portfolio_follower;
mod probe;
mod progress;
mod refreshes;
mod shared;
mod status;
mod status_follower;
mod subscription;
mod watched;
mod watcher;
mod witnesses;

pub use engine_clock::EngineClock;
pub use error::WatchError;
pub use handle::{WatchHandle, watch, watch_with};
pub use portfolio_follower::PortfolioFollower;
pub use status::{Counters, Phase, Status};
pub use status_follower::StatusFollower;
pub use subscription::Subscription;
pub use watcher::{EngineWatcher, Watcher};
