//! Changes, where nobody tells of them: both lists are asked for again and again.

use tokio::time::{Instant, sleep_until, timeout};
use whalewatcher_core::{EngineError, ErrorKind};

use crate::rpc::list::list_alive;
use crate::rpc::session::Session;

/// How many lists in a row may fail.
const FAILURES: u32 = 3;

/// Lists again and again, beginning after the watcher's own first list.
pub(crate) struct Polling<'a> {
    session: &'a Session,
    due: Instant,
    failures: u32,
}

impl<'a> Polling<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        session.lists().compare();
        Self { session, due: Instant::now() + session.poll_every(), failures: 0 }
    }

    /// Asks for a list when it is due; the connection reports what has changed.
    pub(crate) async fn next(&mut self) -> Result<(), EngineError> {
        sleep_until(self.due).await;
        let poll = async {
            // Before there is a first one nothing can be compared with it.
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
                tracing::warn!(%error, "cannot poll this time");
            }
        }
        Ok(())
    }
}
