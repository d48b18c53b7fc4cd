//! A connection to containerd, as the watcher uses it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::SystemTime;

use futures_core::Stream;
use futures_util::{FutureExt as _, stream};
use tokio::sync::mpsc;
use whalewatcher_adapter::Lives;
use whalewatcher_adapter::containerd::{EventService, Scope, split};
use whalewatcher_adapter::grpc::Transport;
use whalewatcher_core::adapter::{EngineConnection, EngineEvent, Listing};
use whalewatcher_core::{Container, ContainerId, EngineError, EngineIdentity, Settings};

use crate::inspect::inspect;
use crate::list::{Purpose, list};
use crate::session::{Configured, Session};

/// A connection to containerd, made by [`Client`](crate::Client). Dropping it closes its descriptor and ends
/// all its tasks.
pub struct Connection {
    session: Session,
    identity: EngineIdentity,
    events: EventService,
    /// Exits that lists show and the event stream reports; taken by that stream.
    reported: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        identity: EngineIdentity,
        configured: Configured,
        settings: &Settings,
    ) -> Self {
        let events = EventService::new(&transport.channel(), Scope::AllBut(configured.ignored.clone()))
            .with_probe_every(configured.probe_every)
            .with_limit(configured.limits.event());
        let (session, reported) = Session::new(transport, configured, settings);
        Self { session, identity, events, reported: Mutex::new(Some(reported)) }
    }
}

impl EngineConnection for Connection {
    // Large futures are boxed: so they are compiled in this crate, and not again in each one that watches.
    fn identity(&self) -> EngineIdentity {
        self.identity.clone()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let mut events: Pin<Box<dyn Stream<Item = _> + Send + '_>> = Box::pin(self.events.events());
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream::poll_fn(move |context| {
            if let Poll::Ready(event) = events.as_mut().poll_next(context) {
                return Poll::Ready(
                    event.map(|event| event.inspect(|event| record_end(event, self.session.lives()))),
                );
            }
            match reported.as_mut().map(|reported| reported.poll_recv(context)) {
                Some(Poll::Ready(Some(event))) => Poll::Ready(Some(Ok(event))),
                _ => Poll::Pending,
            }
        })
    }

    fn list(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        list(&self.session, Purpose::First).boxed()
    }

    fn audit(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        list(&self.session, Purpose::Audit).boxed()
    }

    fn scope_of(id: &ContainerId) -> &str {
        split(id).0
    }

    fn packs(&self) -> bool {
        self.session.packer().is_some()
    }

    fn inspect(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Container>, EngineError>> + Send {
        let id = id.clone();
        async move { inspect(&self.session, &id).await }.boxed()
    }

    /// Asks for the version. If the stream was silent for long enough, an event of our own must come back on
    /// it as well; if it does not, the watcher's time limit ends the probe.
    async fn probe(&self, _since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.session.transport().check_socket()?;
        self.events.probe().await?;
        Ok(None)
    }
}

/// Removes a life from the recorded ones once the stream reports its end.
fn record_end(event: &EngineEvent, lives: &Lives) {
    if let EngineEvent::Exited { id, pid, .. } = event {
        match pid {
            Some(pid) => _ = lives.end_of(id, *pid),
            None => _ = lives.end(id),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("identity", &self.identity)
            .field("ignored", self.session.ignored())
            .finish_non_exhaustive()
    }
}
