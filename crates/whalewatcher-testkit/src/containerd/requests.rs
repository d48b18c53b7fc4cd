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
use whalewatcher_api::containerd::services::containers::v1::{GetContainerRequest, ListContainersRequest};
use whalewatcher_api::containerd::services::events::v1::{PublishRequest, SubscribeRequest};
use whalewatcher_api::containerd::services::tasks::v1::GetRequest;

use crate::grpc::{Connection, Exchange, Hooks, Host, Responding, Serve, unknown_method};

use super::{
    call::{Call, Method},
    filters::Filters,
    server::Shared,
    services,
};

/// The metadata that names a namespace.
const NAMESPACE: &str = "containerd-namespace";

impl Host for Shared {
    type Call = Call;

    fn hooks(&self) -> &Hooks<Call> {
        &self.hooks
    }

    fn arrived(&self, call: &Call) {
        self.stats.count(|stats| stats.requests.count(call.method, call.container()));
    }

    fn largest_message(&self) -> usize {
        self.identity().largest_message
    }
}

impl Serve for Shared {
    fn respond(self: Arc<Self>, connection: Connection, request: Request<Incoming>) -> Responding {
        Box::pin(respond(self, connection, request).map(Ok))
    }

    fn opened(&self) {
        self.stats.count(|stats| {
            stats.accepted += 1;
            stats.open += 1;
        });
    }

    fn closed(&self) {
        self.stats.count(|stats| stats.open -= 1);
    }
}

/// Answers a request, in whatever way the hooks say.
async fn respond(shared: Arc<Shared>, connection: Connection, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let namespace = request.headers().get(NAMESPACE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let method = Method::of(&path);
    let call = Call { method, path, namespace, container: None, topic: None, filters: Vec::new() };
    let exchange = Exchange::new(shared, connection, call);
    match method {
        Method::NamespacesList => exchange.unary(request, |_, _| (), services::list_namespaces).await,
        Method::ContainersGet => {
            let ask = |call: &mut Call, asked: &GetContainerRequest| call.container = Some(asked.id.clone());
            exchange.unary(request, ask, services::get_container).await
        }
        Method::ContainersList => exchange.unary(request, list_filters, services::list_containers).await,
        Method::ContainersListStream => {
            exchange.list(request, list_filters, services::stream_containers).await
        }
        Method::TasksGet => {
            let ask = |call: &mut Call, asked: &GetRequest| call.container = Some(asked.container_id.clone());
            exchange.unary(request, ask, services::get_task).await
        }
        Method::TasksList => exchange.unary(request, |_, _| (), services::list_tasks).await,
        Method::Subscribe => {
            let ask = |call: &mut Call, asked: &SubscribeRequest| call.filters.clone_from(&asked.filters);
            exchange.subscribe(request, ask, subscribe).await
        }
        Method::Publish => {
            let ask = |call: &mut Call, asked: &PublishRequest| call.topic = Some(asked.topic.clone());
            exchange.unary(request, ask, services::publish).await
        }
        Method::Server => exchange.unary(request, |_, ()| (), services::server).await,
        Method::Version => exchange.unary(request, |_, ()| (), services::version).await,
        Method::Other => exchange.unary(request, |_, ()| (), unknown).await,
    }
}

fn list_filters(call: &mut Call, asked: &ListContainersRequest) {
    call.filters.clone_from(&asked.filters);
}

fn unknown(_: &Shared, call: &Call, (): &()) -> Result<(), Status> {
    Err(unknown_method(call.path()))
}

/// Registered with the engine for as long as it exists.
struct Subscription {
    shared: Arc<Shared>,
    id: u64,
    events: mpsc::UnboundedReceiver<Bytes>,
}

fn subscribe(shared: &Arc<Shared>, call: &Call) -> Result<BoxStream<'static, Bytes>, Status> {
    let filters = Filters::parse(call.filters()).map_err(|wrong| {
        let message =
            format!("subscription error: failed parsing subscription filters: {wrong}: invalid argument");
        Status::unknown(message)
    })?;
    let (id, events) = shared.engine.lock().subscribe(filters);
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
