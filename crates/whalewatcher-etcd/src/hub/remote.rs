//! An engine of another host: its client, and the connection to what is known of it. Neither sends a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::stream::{self, Stream};
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{
    Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Host, Layer, Settings,
};

use super::outbox::Outbox;
use super::shared::Shared;
use crate::mirror::{Contents, EngineName, MirroredEngine, MirroredHost, system_time};

/// The client of an engine that its host publishes in etcd: what an
/// [`EngineWatcher`](whalewatcher_core::EngineWatcher) watches that a [`Hub`](crate::Hub) has added.
///
/// It connects to what the hub knows, so it sends no requests. It is connected for as long as the hub follows
/// etcd, the host's agent renews its claim, and the agent is in sync with the engine.
#[derive(Debug)]
pub struct RemoteEngine {
    shared: Arc<Shared>,
    name: EngineName,
    engine_type: String,
    endpoint: String,
    layer: Layer,
    host: Host,
    /// The revision at which it was connected last.
    connected_at: AtomicI64,
}

/// A connection to what is known of an engine.
#[derive(Debug)]
pub struct RemoteConnection {
    shared: Arc<Shared>,
    name: EngineName,
    identity: EngineIdentity,
    outbox: Arc<Outbox>,
}

impl RemoteEngine {
    /// Creates the client; `None` if its host does not publish it, or not in a way that can be read.
    pub(super) fn new(shared: &Arc<Shared>, name: &EngineName) -> Option<Self> {
        let (host, engine_type, layer) = shared.read(|mirror| {
            let (host, engine) = mirror.engine(name)?;
            let record = engine.known.as_ref()?;
            Some((host_of(name, host), record.engine.engine_type.clone(), record.layer))
        })?;
        Some(Self {
            endpoint: endpoint(&shared.cluster, name),
            shared: shared.clone(),
            name: name.clone(),
            engine_type,
            layer,
            host,
            connected_at: AtomicI64::new(i64::MAX),
        })
    }

    /// Returns the host that the engine is on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// Returns the endpoint of an engine: the URL of the cluster, then the IDs of host and engine.
pub(super) fn endpoint(cluster: &str, name: &EngineName) -> String {
    format!("{cluster}/{}/{}", name.host, name.engine)
}

fn host_of(name: &EngineName, host: &MirroredHost) -> Host {
    Host::new(&*name.host, host.name(&name.host))
}

impl EngineClient for RemoteEngine {
    type Connection = RemoteConnection;

    fn engine_type(&self) -> &str {
        &self.engine_type
    }

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn layer(&self) -> Layer {
        self.layer
    }

    fn scope_below(&self) -> Option<&str> {
        match &*self.engine_type {
            "docker.com" => Some("moby"),
            "k8s.io/cri-api" => Some("k8s.io"),
            _ => None,
        }
    }

    async fn connect(&self, _settings: &Settings) -> Result<RemoteConnection, EngineError> {
        let Self { shared, name, endpoint, connected_at, .. } = self;
        let ((identity, exits), outbox) = shared.connect(name, |mirror, host, engine| {
            let since = connected_at.swap(mirror.revision(), Ordering::Relaxed);
            (identity(name, endpoint, host, engine), exits(engine, since))
        })?;
        outbox.push(EngineEvent::Subscribed);
        exits.into_iter().for_each(|exit| outbox.push(exit));
        Ok(RemoteConnection { shared: shared.clone(), name: name.clone(), identity, outbox })
    }

    async fn reachable(&self) {
        self.shared.until_live(&self.name).await;
    }
}

fn identity(
    name: &EngineName,
    endpoint: &str,
    host: &MirroredHost,
    engine: &MirroredEngine,
) -> EngineIdentity {
    let mut identity =
        engine.known.as_ref().map_or_else(|| EngineIdentity::new("", ""), |record| record.engine.clone());
    endpoint.clone_into(&mut identity.endpoint);
    // It is none of this host.
    identity.pid = None;
    identity.host = Some(host_of(name, host));
    identity
}

/// Returns the exits that were published since the last connection: the list shows only that these lives are over.
fn exits(engine: &MirroredEngine, since: i64) -> Vec<EngineEvent> {
    let exited = |exit: &crate::records::ExitRecord| EngineEvent::Exited {
        id: exit.id.clone(),
        pid: Some(exit.pid).filter(|pid| *pid != 0),
        at: Some(system_time(exit.time)),
        code: exit.exit_code,
    };
    engine.exits_after(since).map(exited).collect()
}

impl EngineConnection for RemoteConnection {
    fn identity(&self) -> EngineIdentity {
        self.identity.clone()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        stream::unfold(Some(self.outbox.clone()), async |outbox| {
            let outbox = outbox?;
            let next = outbox.next().await;
            let rest = next.is_ok().then_some(outbox);
            Some((next, rest))
        })
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        let entries = |engine: &MirroredEngine| engine.containers.iter().map(entry).collect::<Vec<_>>();
        let listed = self.shared.live(&self.name, |_, _, engine| entries(engine));
        listed.map(Listing::from)
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        let found = self.shared.live(&self.name, |_, _, engine| {
            engine.containers.get(id).map(|contents| contents.value.clone()).transpose()
        })?;
        found.map_err(|error| EngineError::new(ErrorKind::Malformed, error.to_string()))
    }

    // The hub shows that etcd answers; if it does not, the connection ends.
}

fn entry((id, contents): (&ContainerId, &Contents)) -> ListingEntry {
    match &contents.value {
        Ok(container) => ListingEntry::Whole(container.clone()),
        // Its inspection says why.
        Err(_) => {
            let container = Container::new(id.clone(), id.as_str(), 0);
            ListingEntry::Partial { container, started_within: None }
        }
    }
}
