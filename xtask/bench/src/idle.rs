//! What a watcher asks of an engine at which nothing happens, sent by a minimal client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tokio::time::{Instant, interval_at};

use crate::floor::Connection;

/// How often.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    /// Whether the silent event stream still lives.
    pub checks: Duration,
    /// The list, to compare with it what is known.
    pub audits: Duration,
}

/// Follows the events, and asks with this cadence, on one connection that is kept; tells when it has begun to.
///
/// # Errors
///
/// When the engine cannot be reached, or refuses something.
pub async fn ask(socket: &str, cadence: Cadence, begun: impl FnOnce()) -> Result<()> {
    let mut following = Connection::new(socket).await?;
    let _events = following.get("/events").await?;
    let mut connection = Connection::new(socket).await?;
    let begin = seconds();
    let [mut checks, mut audits] =
        [cadence.checks, cadence.audits].map(|every| interval_at(Instant::now() + every, every));
    begun();
    loop {
        let first = tokio::select! {
            _ = checks.tick() => "/_ping",
            _ = audits.tick() => "/containers/json",
        };
        connection.get_for_nothing(first).await?;
        connection.get_for_nothing(&format!("/events?since={begin}&until={}", seconds())).await?;
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
