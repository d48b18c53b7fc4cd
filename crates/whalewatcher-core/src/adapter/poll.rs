//! Polling: events for engines that send none, from the differences between lists.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use tokio::time::{sleep, timeout};

use crate::engine::{ChangeSource, EngineConnection, EngineEvent, Listing};
use crate::model::{Container, ContainerId, EngineError, ErrorKind, is_silence};

/// The number of failed lists in a row that ends polling.
const FAILURES: u32 = 3;

/// Returns the [events](EngineConnection::events) of an engine that sends none: lists it at the interval
/// `every` and yields the differences from the list before.
///
/// A list that takes longer than `limit`, or that gets no answer, ends the stream with its error; so does the
/// third list in a row that fails otherwise. [`adapter`](crate::adapter#polling) documents the requirements
/// on `list` and `inspect`.
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
    /// The containers of the newest list; `None` before the first.
    newest: Option<HashMap<ContainerId, Container>>,
    /// The number of lists in a row that failed.
    failures: u32,
    /// The events to yield.
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

    /// Handles a list. The first one precedes the subscription, so that no change after it is missed.
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
                    self.events.push_back(EngineEvent::Touched { id, at: None });
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
