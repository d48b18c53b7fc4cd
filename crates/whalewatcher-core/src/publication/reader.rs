//! A subscriber of a publication.

use std::collections::VecDeque;
use std::future::Future;
use std::mem::{replace, take};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::coop::consume_budget;

use super::{Batch, Place, Publication, Published, Snapshot, Unread};

/// A subscriber, with the events that it received and did not return yet.
pub(crate) struct Reader<S: Published> {
    place: Place<S>,
    /// The snapshot after all events that were returned or received.
    seen: Arc<Snapshot<S>>,
    /// The batches that were received and not returned. No batch is empty.
    received: VecDeque<Batch<S>>,
    /// How many events of the first batch were returned.
    read: usize,
}

impl<S: Published> Reader<S> {
    /// Adds a subscriber, whose events come after the state that [`seen`](Self::seen) returns now.
    pub(crate) fn new(publication: &Arc<Publication<S>>) -> Self {
        let (place, seen) = publication.join();
        Self { place, seen, received: VecDeque::new(), read: 0 }
    }

    /// Returns the state after all received events; after the end, after all events.
    pub(crate) fn seen(&self) -> &S {
        &self.seen.state
    }

    /// Returns the next event; `None` after the end.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<S::Event>> {
        loop {
            if let Some(events) = self.received.front() {
                let event = events[self.read].clone();
                self.read += 1;
                if self.read == events.len() {
                    self.read = 0;
                    self.received.pop_front();
                }
                return Poll::Ready(Some(event));
            }
            if ready!(self.poll_receive(Some(context))).is_none() {
                return Poll::Ready(None);
            }
            // A task that reads continuously lets others run, too.
            ready!(pin!(consume_budget()).poll(context));
        }
    }

    /// Returns all events up to [`seen`](Self::seen), none if only the state was replaced by an equal one;
    /// `None` after the end. Without a context, the subscriber is not woken later.
    pub(crate) fn poll_all(&mut self, context: Option<&mut Context<'_>>) -> Poll<Option<Vec<S::Event>>> {
        if self.received.is_empty() && ready!(self.poll_receive(context)).is_none() {
            return Poll::Ready(None);
        }
        let events = take(&mut self.received).into_iter().flat_map(|batch| batch.to_vec());
        Poll::Ready(Some(events.skip(take(&mut self.read)).collect()))
    }

    /// Receives what was published since; `None` after the end.
    fn poll_receive(&mut self, context: Option<&mut Context<'_>>) -> Poll<Option<()>> {
        let Some(Unread { batches, snapshot }) = ready!(self.place.poll_take(&self.seen, context)) else {
            return Poll::Ready(None);
        };
        let before = replace(&mut self.seen, snapshot);
        match batches {
            Some(batches) => self.received.extend(batches),
            None => {
                let events = S::catch_up(&before, &self.seen);
                self.received.extend((!events.is_empty()).then(|| events.into()));
            }
        }
        Poll::Ready(Some(()))
    }
}
