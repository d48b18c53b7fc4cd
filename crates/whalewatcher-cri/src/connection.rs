//! A connection to a runtime, as the watcher uses it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use whalewatcher_adapter::grpc::Transport;
use whalewatcher_core::adapter::{EngineConnection, EngineEvent, Listing};
use whalewatcher_core::{Container, ContainerId, EngineError, EngineIdentity, Settings};

use crate::decode::runtime::Runtime;
use crate::rpc::handshake::ask_version;
use crate::rpc::inspect::inspect;
use crate::rpc::list::list;
use crate::rpc::session::{Configured, Session};
use crate::source::changes;

/// A connection to a CRI runtime, made by [`Client`](crate::Client). Dropping it closes its descriptor and ends all its
/// tasks.
pub struct Connection {
    session: Session,
    identity: EngineIdentity,
    /// Changes that lists show and the event stream reports; taken by that stream.
    reported: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        runtime: Runtime,
        identity: EngineIdentity,
        configured: Configured,
        settings: &Settings,
    ) -> Result<Self, EngineError> {
        let (session, reported) = Session::new(transport, runtime, configured, settings)?;
        Ok(Self { session, identity, reported: Mutex::new(Some(reported)) })
    }
}

impl EngineConnection for Connection {
    // Large futures are boxed: so they are compiled in this crate, and not again in each one that watches.
    fn identity(&self) -> EngineIdentity {
        self.identity.clone()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner).take();
        changes(&self.session, reported).boxed()
    }

    fn list(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        list(&self.session).boxed()
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

    /// A restart in a pod is another container.
    fn has_one_life_per_id(&self) -> bool {
        true
    }

    /// CRI offers no way to probe the event stream. But events and answers share one connection, so a runtime
    /// that answers can deliver events too. Where containerd's own events are used as hints and were silent
    /// for long enough, an event of our own must come back.
    async fn probe(&self, _since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.session.transport().check_socket()?;
        #[cfg(feature = "containerd")]
        if self.session.containerd().is_subscribed() {
            self.session.containerd().probe().await?;
            return Ok(None);
        }
        ask_version(self.session.transport().channel()).await?;
        Ok(None)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("identity", &self.identity).finish_non_exhaustive()
    }
}
