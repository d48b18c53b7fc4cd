//! Polls both lists, where no events report changes.

use tokio::time::{Instant, sleep_until, timeout};
use whalewatcher_core::{EngineError, ErrorKind};

use crate::rpc::list::list_alive;
use crate::rpc::session::Session;

/// The number of consecutive failures that end the connection.
const FAILURES: u32 = 3;

/// Requests lists repeatedly, after the watcher's first one.
pub(crate) struct Poll<'a> {
    session: &'a Session,
    due: Instant,
    failures: u32,
}

impl<'a> Poll<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        session.lists().compare();
        Self { session, due: Instant::now() + session.poll_every(), failures: 0 }
    }

    /// Requests a list when it is due; the session reports what has changed.
    pub(crate) async fn next(&mut self) -> Result<(), EngineError> {
        sleep_until(self.due).await;
        let poll = async {
            // Without a previous list there is nothing to compare with.
            if self.session.lists().is_begun().await {
                list_alive(self.session).await?;
            }
            Ok(())
        };
        let limit = self.session.list_limit();
        let polled = timeout(limit, poll).await.unwrap_or_else(|_| {
            let message = format!("polling: no list within {} s", limit.as_secs_f32());
            Err(EngineError::new(ErrorKind::TimedOut, message))
        });
        self.due = Instant::now() + self.session.poll_every();
        match polled {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures += 1;
                let broken = matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::TimedOut);
                if broken || self.failures == FAILURES {
                    return Err(error);
                }
                tracing::warn!(%error, "one poll failed");
            }
        }
        Ok(())
    }
}
