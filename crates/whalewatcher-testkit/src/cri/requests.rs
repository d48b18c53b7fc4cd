//! From the path of a request to its method, and to what answers it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use hyper::{Request, Response, body::Incoming};
use tokio::sync::mpsc;
use tonic::{Status, body::Body};
use whalewatcher_api::cri::v1::{
    ContainerStatusRequest, GetEventsRequest, ListContainersRequest, ListPodSandboxRequest,
    PodSandboxStatusRequest,
};

use crate::grpc::{Connection, Exchange, Hooks, Host, Responding, Serve, unknown_method, unknown_service};

use super::{
    call::{Call, Method},
    flavour::Flavour,
    server::Shared,
    services,
};

/// What only containerd serves.
const CONTAINERD: &str = "/containerd.services.";

const CRI: &str = "/runtime.v1.RuntimeService/";

impl Host for Shared {
    type Call = Call;

    fn hooks(&self) -> &Hooks<Call> {
        &self.hooks
    }

    fn arrived(&self, call: &Call) {
        self.stats.count(|stats| stats.requests.count(call.method, call.id()));
    }

    fn largest_message(&self) -> usize {
        self.largest_message.unwrap_or_else(|| self.engine.lock().flavour.largest_message())
    }
}

impl Serve for Shared {
    fn respond(self: Arc<Self>, connection: Connection, request: Request<Incoming>) -> Responding {
        let is_containerd = self.engine.lock().flavour.containerd().is_some();
        if is_containerd && request.uri().path().starts_with(CONTAINERD) {
            return self.containerd.service().respond(connection, request);
        }
        Box::pin(respond(self, connection, request).map(Ok))
    }

    fn opened(&self) {
        self.containerd.service().opened();
        self.stats.count(|stats| {
            stats.accepted += 1;
            stats.open += 1;
        });
    }

    fn closed(&self) {
        self.containerd.service().closed();
        self.stats.count(|stats| stats.open -= 1);
    }

    fn began(&self) {
        self.engine.lock().set_present(true);
    }

    fn ended(&self) {
        self.engine.lock().set_present(false);
    }
}

/// Answers a request, in whatever way the hooks say.
async fn respond(shared: Arc<Shared>, connection: Connection, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let method = Method::of(&path);
    let exchange = Exchange::new(shared, connection, Call { method, path, id: None, verbose: false });
    match method {
        Method::Version => exchange.unary(request, |_, _| (), services::version).await,
        Method::Status => exchange.unary(request, |_, _| (), services::status).await,
        Method::ListContainers => {
            let ask = |call: &mut Call, asked: &ListContainersRequest| {
                call.id = asked.filter.as_ref().map(|filter| filter.id.clone()).filter(|id| !id.is_empty());
            };
            exchange.unary(request, ask, services::list_containers).await
        }
        Method::ListPodSandbox => {
            let ask = |call: &mut Call, asked: &ListPodSandboxRequest| {
                call.id = asked.filter.as_ref().map(|filter| filter.id.clone()).filter(|id| !id.is_empty());
            };
            exchange.unary(request, ask, services::list_sandboxes).await
        }
        Method::ContainerStatus => {
            let ask = |call: &mut Call, asked: &ContainerStatusRequest| {
                call.id = Some(asked.container_id.clone());
                call.verbose = asked.verbose;
            };
            exchange.unary(request, ask, services::of_container).await
        }
        Method::PodSandboxStatus => {
            let ask = |call: &mut Call, asked: &PodSandboxStatusRequest| {
                call.id = Some(asked.pod_sandbox_id.clone());
                call.verbose = asked.verbose;
            };
            exchange.unary(request, ask, services::of_sandbox).await
        }
        Method::GetContainerEvents => {
            exchange.subscribe(request, |_, _: &GetEventsRequest| (), subscribe).await
        }
        Method::Other => exchange.unary(request, |_, ()| (), unknown).await,
    }
}

fn unknown(_: &Shared, call: &Call, (): &()) -> Result<(), Status> {
    Err(if call.path().starts_with(CRI) { unknown_method(call.path()) } else { unknown_service(call.path()) })
}

/// Registered with the runtime for as long as it exists.
struct Subscription {
    shared: Arc<Shared>,
    id: u64,
    events: mpsc::UnboundedReceiver<Bytes>,
}

fn subscribe(shared: &Arc<Shared>, call: &Call) -> Result<BoxStream<'static, Bytes>, Status> {
    let mut engine = shared.engine.lock();
    match engine.flavour {
        Flavour::Containerd1_6 | Flavour::CriDockerd => return Err(unknown_method(call.path())),
        Flavour::Crio => return Ok(stream::empty().boxed()),
        Flavour::Containerd1_7 | Flavour::Containerd2_1 | Flavour::CrioWithEvents => {}
    }
    let (id, events) = engine.subscribe();
    shared.stats.count(|stats| {
        stats.subscriptions += 1;
        stats.subscribed += 1;
    });
    let subscription = Subscription { shared: Arc::clone(shared), id, events };
    let events = stream::unfold(subscription, |mut subscription| async {
        Some((subscription.events.recv().await?, subscription))
    });
    Ok(events.boxed())
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.engine.lock().unsubscribe(self.id);
        self.shared.stats.count(|stats| stats.subscriptions -= 1);
    }
}
