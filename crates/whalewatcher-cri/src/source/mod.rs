//! The source of changes, chosen with each connection: the runtime's events, containerd's own events as
//! hints, or polling.

#[cfg(feature = "containerd")]
mod containerd_events;
pub(crate) mod cri_events;
#[cfg(feature = "containerd")]
mod missed;
#[cfg(feature = "containerd")]
mod ownership;
mod poll;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::stream;
use tokio::sync::mpsc;
use whalewatcher_core::EngineError;
#[cfg(not(feature = "containerd"))]
use whalewatcher_core::ErrorKind;
use whalewatcher_core::adapter::{ChangeSource, EngineEvent};

use crate::rpc::session::Session;
#[cfg(feature = "containerd")]
use crate::source::containerd_events::ContainerdEvents;
use crate::source::cri_events::Events;
use crate::source::poll::Poll;

/// Returns the changes of a connection: those of its source, and those that lists show.
pub(crate) fn changes(
    session: &Session,
    reported: Option<mpsc::UnboundedReceiver<EngineEvent>>,
) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
    let changes = Changes { session, pending: VecDeque::new(), reported, source: Source::Unchosen };
    stream::unfold(Some(changes), |changes| async move {
        let mut changes = changes?;
        loop {
            if let Some(event) = changes.pending.pop_front() {
                return Some((Ok(event), Some(changes)));
            }
            if let Err(error) = changes.next().await {
                return Some((Err(error), None));
            }
        }
    })
}

struct Changes<'a> {
    session: &'a Session,
    pending: VecDeque<EngineEvent>,
    /// The changes that lists show.
    reported: Option<mpsc::UnboundedReceiver<EngineEvent>>,
    source: Source<'a>,
}

enum Source<'a> {
    Unchosen,
    Events(Events<'a>),
    #[cfg(feature = "containerd")]
    Hints(ContainerdEvents<'a>),
    Polling(Poll<'a>),
}

impl<'a> Changes<'a> {
    /// Waits for the next events, of the source or of a list.
    async fn next(&mut self) -> Result<(), EngineError> {
        let mut reported = self.reported.take();
        let stepped = tokio::select! {
            biased;
            stepped = self.step() => stepped,
            Some(event) = recv(&mut reported) => {
                self.pending.push_back(event);
                Ok(())
            }
        };
        self.reported = reported;
        stepped
    }

    /// Waits for the next events of the source. Cancel safe once the source is chosen.
    async fn step(&mut self) -> Result<(), EngineError> {
        match &mut self.source {
            Source::Unchosen => self.choose().await,
            Source::Events(events) => {
                let step = events.step(self.session).await?;
                self.pending.extend(step.reported);
                if let Some(over) = step.over {
                    self.poll(Some(over));
                }
                Ok(())
            }
            #[cfg(feature = "containerd")]
            Source::Hints(hints) => {
                self.pending.extend(hints.next(self.session).await?);
                Ok(())
            }
            Source::Polling(polling) => polling.next().await,
        }
    }

    async fn choose(&mut self) -> Result<(), EngineError> {
        if self.session.polls_only() {
            self.poll(None);
            self.pending.push_back(EngineEvent::Subscribed);
            return Ok(());
        }
        if self.session.runtime().shares_events() {
            return self.subscribe().await;
        }
        #[cfg(feature = "containerd")]
        let why = match ContainerdEvents::subscribe(self.session).await? {
            Ok(hints) => {
                self.pending.push_back(EngineEvent::Source(ChangeSource::Hints));
                self.pending.push_back(EngineEvent::Subscribed);
                self.source = Source::Hints(hints);
                return Ok(());
            }
            Err(refused) => refused,
        };
        #[cfg(not(feature = "containerd"))]
        let why = EngineError::new(
            ErrorKind::Configuration,
            "the events of containerd before 2.0 would be taken from the kubelet, and this build lacks the feature `containerd`",
        );
        self.poll(Some(why));
        self.pending.push_back(EngineEvent::Subscribed);
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<(), EngineError> {
        let (events, step) = Events::subscribe(self.session).await?;
        if let Some(over) = step.over {
            self.poll(Some(over));
            self.pending.push_back(EngineEvent::Subscribed);
        } else {
            self.pending.push_back(EngineEvent::Source(ChangeSource::Events));
            self.pending.push_back(EngineEvent::Subscribed);
            self.source = Source::Events(events);
        }
        self.pending.extend(step.reported);
        Ok(())
    }

    /// Polls from now on, for this reason, unless it is configured.
    fn poll(&mut self, why: Option<EngineError>) {
        let every = self.session.poll_every();
        self.pending.push_back(EngineEvent::Source(ChangeSource::Polling { every }));
        if let Some(why) = why {
            self.pending.push_back(EngineEvent::Fallback(Some(Arc::new(why))));
        }
        self.source = Source::Polling(Poll::new(self.session));
    }
}

async fn recv(reported: &mut Option<mpsc::UnboundedReceiver<EngineEvent>>) -> Option<EngineEvent> {
    reported.as_mut()?.recv().await
}
