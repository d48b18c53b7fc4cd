//! What anybody would do without a watcher: read all of the engine's events, as `docker events` does, and inspect each
//! container that starts. Nothing is remembered, and the answers are thrown away.

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::floor::Connection;

/// What stands before the ID of a container that was started, in the line of that event.
const STARTED: &[u8] = br#""Type":"container","Action":"start","Actor":{"ID":""#;

/// Follows the events of an engine on one connection, and inspects on another one.
pub struct Follower {
    _events: Connection,
    body: Incoming,
    line: Vec<u8>,
    inspecting: Connection,
}

impl Follower {
    /// Begins to follow.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached, or refuses.
    pub async fn new(socket: &str) -> Result<Self> {
        let inspecting = Connection::new(socket).await?;
        let mut events = Connection::new(socket).await?;
        let body = events.get("/events").await?.into_body();
        Ok(Self { _events: events, body, line: Vec::new(), inspecting })
    }

    /// Waits until so many containers were started and inspected.
    ///
    /// # Errors
    ///
    /// When the stream ends. A container that is not there any more is no error.
    pub async fn inspect(&mut self, starts: usize) -> Result<()> {
        let mut left = starts;
        while left > 0 {
            let frame = self.body.frame().await.context("the stream ended")??;
            for part in
                frame.data_ref().into_iter().flat_map(|data| data.split_inclusive(|byte| *byte == b'\n'))
            {
                self.line.extend_from_slice(part);
                if !part.ends_with(b"\n") {
                    continue;
                }
                if let Some(id) = started(&self.line) {
                    self.inspecting.ask(&format!("/containers/{id}/json")).await?;
                    left = left.saturating_sub(1);
                }
                self.line.clear();
            }
        }
        Ok(())
    }
}

/// Who was started, if that is what the line tells.
fn started(line: &[u8]) -> Option<&str> {
    let at = line.windows(STARTED.len()).position(|window| window == STARTED)? + STARTED.len();
    let id = line[at..].split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_started_is_found_in_the_line() {
        let line = br#"{"status":"start","id":"ab12","Type":"container","Action":"start","Actor":{"ID":"ab12","Attributes":{}}}"#;
        assert_eq!(started(line), Some("ab12"));
        let line = br#"{"status":"die","id":"ab12","Type":"container","Action":"die","Actor":{"ID":"ab12"}}"#;
        assert_eq!(started(line), None);
        assert_eq!(started(b"{}"), None);
    }
}
