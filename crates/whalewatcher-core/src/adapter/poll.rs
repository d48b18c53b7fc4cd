//! Events for engines that send none: lists, each compared with the one before.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use tokio::time::{sleep, timeout};

use crate::engine::{ChangeSource, EngineConnection, EngineEvent, Listing};
use crate::model::{Container, ContainerId, EngineError, ErrorKind, is_silence};

/// How many lists in a row may fail.
const FAILURES: u32 = 3;

/// Returns the [events](EngineConnection::events) of an engine that sends none: lists it, and again after each `every`, and
/// yields what differs from the list before.
///
/// A list may take `limit`. One that takes longer, or that is not answered at all, ends the stream with its error; so does the
/// third one in a row that fails otherwise. What is required of `list` and `inspect` is said in
/// [`adapter`](crate::adapter#polling).
pub fn poll<C: EngineConnection>(
    connection: &C,
    every: Duration,
    limit: Duration,
) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
    let polling = Polling { connection, every, limit, newest: None, failures: 0, events: VecDeque::new() };
    stream::try_unfold(polling, |mut polling| async move {
        let event = polling.next().await?;
        Ok(Some((event, polling)))
    })
}

struct Polling<'a, C> {
    connection: &'a C,
    every: Duration,
    limit: Duration,
    /// What the newest list contains; `None` before the first.
    newest: Option<HashMap<ContainerId, Container>>,
    /// How many lists in a row have failed.
    failures: u32,
    /// What is to be yielded.
    events: VecDeque<EngineEvent>,
}

impl<C: EngineConnection> Polling<'_, C> {
    async fn next(&mut self) -> Result<EngineEvent, EngineError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if self.newest.is_some() {
                sleep(self.every).await;
            }
            let list = timeout(self.limit, self.connection.list()).await.unwrap_or_else(|_| {
                let message = format!("polling: no list within {} s", self.limit.as_secs_f32());
                Err(EngineError::new(ErrorKind::TimedOut, message))
            });
            match list {
                Ok(listing) => {
                    self.failures = 0;
                    self.compare(listing);
                }
                Err(error) => {
                    self.failures += 1;
                    if self.newest.is_none() || is_silence(&error) || self.failures == FAILURES {
                        return Err(error);
                    }
                    tracing::warn!(%error, "cannot poll this time");
                }
            }
        }
    }

    /// Takes in a list. The first one comes before the subscription, so that nothing that changes after it is missed.
    fn compare(&mut self, Listing { entries, unlisted }: Listing) {
        let mut now: HashMap<_, _> = entries
            .into_iter()
            .map(|entry| {
                let container = entry.container().clone();
                (container.id().clone(), container)
            })
            .collect();
        let Some(before) = self.newest.take() else {
            let source = ChangeSource::Polling { every: self.every };
            self.events.extend([EngineEvent::Source(source), EngineEvent::Subscribed]);
            self.newest = Some(now);
            return;
        };
        for (id, container) in &now {
            match before.get(id) {
                None => {
                    let id = id.clone();
                    self.events.push_back(EngineEvent::Started { id, at: None, pid: None, preview: None });
                }
                Some(before) if before == container => {}
                Some(_) => self.events.push_back(EngineEvent::Changed { id: id.clone(), at: None }),
            }
        }
        for (id, container) in before {
            if now.contains_key(&id) {
                continue;
            }
            if unlisted.iter().any(|part| part.scope == C::scope_of(&id)) {
                now.insert(id, container);
                continue;
            }
            let pid = Some(container.pid()).filter(|pid| *pid != 0);
            self.events.push_back(EngineEvent::Exited { id, pid, at: None, code: None });
        }
        self.newest = Some(now);
    }
}
