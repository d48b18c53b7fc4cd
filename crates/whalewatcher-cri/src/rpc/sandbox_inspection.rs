//! Inspections of sandboxes, for which those of their containers wait: only they contain the network.

use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::ContainerId;

use crate::decode::container::Kind;
use crate::rpc::session::Session;

/// The inspection of a sandbox, for which those of its containers wait.
pub(crate) struct SandboxInspection<'a> {
    session: &'a Session,
    id: &'a ContainerId,
}

impl<'a> SandboxInspection<'a> {
    /// Begins it, if the container is known to be a sandbox.
    pub(crate) fn begin(session: &'a Session, id: &'a ContainerId) -> Option<Self> {
        let mut cache = session.cache();
        let is_sandbox = cache.get(id).is_some_and(|entry| entry.kind == Some(Kind::Sandbox));
        is_sandbox.then(|| {
            cache.networks.begin(id);
            Self { session, id }
        })
    }
}

impl Drop for SandboxInspection<'_> {
    fn drop(&mut self) {
        self.session.cache().networks.end(self.id);
        self.session.sandbox_inspected().notify_waiters();
    }
}

/// Waits until the network of a sandbox is known, if the sandbox is inspected right now.
pub(crate) async fn wait_for_network(session: &Session, sandbox: &ContainerId, limit: Duration) {
    let known = async {
        loop {
            let notified = session.sandbox_inspected().notified();
            if !session.cache().networks.is_awaited(sandbox) {
                return;
            }
            notified.await;
        }
    };
    if timeout(limit, known).await.is_err() {
        tracing::debug!(%sandbox, "the network of a sandbox is not known in time");
    }
}
