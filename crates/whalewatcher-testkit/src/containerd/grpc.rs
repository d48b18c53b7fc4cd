//! gRPC: from the path of a request to its method, through the hooks to an answer or a stream of them.

use std::{
    convert::Infallible,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Buf, BufMut, Bytes};
use containerd_client::services::v1::{
    GetContainerRequest, GetRequest, ListContainersRequest, PublishRequest, SubscribeRequest,
};
use futures_util::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use hyper::{Request, Response, body::Incoming};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{
    Code, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, ServerStreamingService, UnaryService},
};

use super::{
    filters::Filters,
    hooks::{Call, Method, Ruling},
    server::Shared,
    services,
    wire::Connection,
};

/// The metadata that names a namespace.
const NAMESPACE: &str = "containerd-namespace";

/// One call on its way.
#[derive(Clone)]
struct Exchange {
    shared: Arc<Shared>,
    connection: Connection,
    call: Call,
}

/// Answers a request, in whatever way the hooks say.
pub(super) async fn respond(
    shared: Arc<Shared>,
    connection: Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let namespace = request.headers().get(NAMESPACE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let method = Method::of(&path);
    shared.stats.count(|stats| stats.requests.count(method));
    let call = Call { method, path, namespace, container: None, topic: None, filters: Vec::new() };
    let exchange = Exchange { shared, connection, call };
    Ok(match method {
        Method::NamespacesList => exchange.unary(request, |_, _| (), services::list_namespaces).await,
        Method::ContainersGet => {
            let ask = |call: &mut Call, asked: &GetContainerRequest| call.container = Some(asked.id.clone());
            exchange.unary(request, ask, services::get_container).await
        }
        Method::ContainersList => exchange.unary(request, list_filters, services::list_containers).await,
        Method::ContainersListStream => {
            Grpc::new(Frames::default()).server_streaming(ListStream(exchange), request).await
        }
        Method::TasksGet => {
            let ask = |call: &mut Call, asked: &GetRequest| call.container = Some(asked.container_id.clone());
            exchange.unary(request, ask, services::get_task).await
        }
        Method::TasksList => exchange.unary(request, |_, _| (), services::list_tasks).await,
        Method::Subscribe => {
            Grpc::new(Frames::default()).server_streaming(Subscribe(exchange), request).await
        }
        Method::Publish => {
            let ask = |call: &mut Call, asked: &PublishRequest| call.topic = Some(asked.topic.clone());
            exchange.unary(request, ask, services::publish).await
        }
        Method::Server => exchange.unary(request, |_, ()| (), services::server).await,
        Method::Version => exchange.unary(request, |_, ()| (), services::version).await,
        Method::Other => exchange.unary(request, |_, ()| (), unknown).await,
    })
}

fn list_filters(call: &mut Call, asked: &ListContainersRequest) {
    call.filters.clone_from(&asked.filters);
}

fn unknown(_: &Shared, call: &Call, (): &()) -> Result<(), Status> {
    let (service, method) = call.path().trim_start_matches('/').split_once('/').unwrap_or_default();
    Err(Status::unimplemented(format!("unknown method {method} for service {service}")))
}

impl Exchange {
    async fn unary<M, A>(
        self,
        request: Request<Incoming>,
        ask: fn(&mut Call, &M),
        answer: fn(&Shared, &Call, &M) -> Result<A, Status>,
    ) -> Response<Body>
    where
        M: Message + Default + 'static,
        A: Message + 'static,
    {
        Grpc::new(Frames::default()).unary(Unary { exchange: self, ask, answer }, request).await
    }

    /// What hooks say about the call: bytes to be sent instead of an answer, or where to end a stream.
    async fn before(&self) -> Result<Ruled, Status> {
        self.carry_out(self.shared.hooks.before(&self.call).await).await
    }

    async fn after(&self, code: Code) -> Result<Ruled, Status> {
        self.carry_out(self.shared.hooks.after(&self.call, code).await).await
    }

    async fn carry_out(&self, ruling: Ruling) -> Result<Ruled, Status> {
        match ruling {
            Ruling::Pass => Ok(Ruled::Go),
            Ruling::Fail(status) => Err(status),
            Ruling::Garbage(bytes) => Ok(Ruled::Instead(bytes)),
            Ruling::Hang => std::future::pending().await,
            Ruling::Close => self.close().await,
            Ruling::Cut(count) => Ok(Ruled::Limit(End { count, cut: true })),
            Ruling::End(count) => Ok(Ruled::Limit(End { count, cut: false })),
        }
    }

    async fn close<T>(&self) -> T {
        self.connection.close();
        std::future::pending().await
    }

    /// As grpc-go refuses to send what is too large.
    fn within_limit(&self, message: Vec<u8>) -> Result<Bytes, Status> {
        let limit = self.shared.identity().largest_message;
        if message.len() > limit {
            let message =
                format!("grpc: trying to send message larger than max ({} vs. {limit})", message.len());
            return Err(Status::resource_exhausted(message));
        }
        Ok(message.into())
    }

    /// Ends a stream of messages where the hooks want it ended.
    fn limited(
        self,
        messages: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
        end: Option<End>,
    ) -> Messages {
        let Some(end) = end else { return messages.boxed() };
        let sent = Arc::new(AtomicUsize::new(0));
        let messages = messages.take(end.count).inspect({
            let (connection, sent) = (self.connection.clone(), Arc::clone(&sent));
            move |message| {
                let bytes = message.as_ref().map_or(0, Bytes::len);
                sent.store(connection.after(bytes), Ordering::Relaxed);
            }
        });
        let rest = stream::once(async move {
            if end.cut {
                self.connection.until_sent(sent.load(Ordering::Relaxed)).await;
                self.close::<()>().await;
            }
        });
        messages.chain(rest.filter_map(|()| async { None })).boxed()
    }
}

/// What is left to do after the hooks were asked.
enum Ruled {
    Go,
    Instead(Bytes),
    Limit(End),
}

/// Where a stream ends before its time.
#[derive(Clone, Copy)]
struct End {
    count: usize,
    /// Whether the connection ends too.
    cut: bool,
}

type Messages = BoxStream<'static, Result<Bytes, Status>>;

struct Unary<M, A> {
    exchange: Exchange,
    ask: fn(&mut Call, &M),
    answer: fn(&Shared, &Call, &M) -> Result<A, Status>,
}

impl<M: Message + Default + 'static, A: Message + 'static> UnaryService<M> for Unary<M, A> {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        let mut exchange = self.exchange.clone();
        let answer = self.answer;
        let asked = request.into_inner();
        (self.ask)(&mut exchange.call, &asked);
        Box::pin(async move {
            match exchange.before().await? {
                Ruled::Instead(bytes) => return Ok(tonic::Response::new(bytes)),
                Ruled::Limit(End { cut: true, .. }) => exchange.close().await,
                Ruled::Limit(_) | Ruled::Go => {}
            }
            let answer = answer(&exchange.shared, &exchange.call, &asked)
                .and_then(|answer| exchange.within_limit(answer.encode_to_vec()));
            let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
            match exchange.after(code).await? {
                Ruled::Instead(bytes) => Ok(tonic::Response::new(bytes)),
                Ruled::Limit(End { cut: true, .. }) => exchange.close().await,
                Ruled::Limit(_) | Ruled::Go => answer.map(tonic::Response::new),
            }
        })
    }
}

struct ListStream(Exchange);

impl ServerStreamingService<ListContainersRequest> for ListStream {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<ListContainersRequest>) -> Self::Future {
        let mut exchange = self.0.clone();
        let asked = request.into_inner();
        list_filters(&mut exchange.call, &asked);
        Box::pin(async move {
            let before = exchange.before().await?;
            let messages = services::stream_containers(&exchange.shared, &exchange.call, &asked);
            let code = messages.as_ref().map_or_else(Status::code, |_| Code::Ok);
            let after = exchange.after(code).await?;
            let (instead, end) = streamed([before, after]);
            let messages: Vec<_> = match instead {
                Some(bytes) => vec![Ok(bytes)],
                None => {
                    messages?.iter().map(|message| exchange.within_limit(message.encode_to_vec())).collect()
                }
            };
            Ok(tonic::Response::new(exchange.limited(stream::iter(messages), end)))
        })
    }
}

struct Subscribe(Exchange);

impl ServerStreamingService<SubscribeRequest> for Subscribe {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<SubscribeRequest>) -> Self::Future {
        let mut exchange = self.0.clone();
        exchange.call.filters = request.into_inner().filters;
        Box::pin(async move {
            let before = exchange.before().await?;
            exchange.shared.hooks.may_subscribe().await;
            let mut subscription = Subscription::begin(&exchange.shared, &exchange.call.filters)?;
            if let Ruled::Limit(End { count: 0, .. }) = before {
                let (_, end) = streamed([before, Ruled::Go]);
                return Ok(tonic::Response::new(exchange.limited(stream::empty(), end)));
            }
            // grpc-go sends the headers with the first message, so nothing is answered before there is one.
            let first = subscription.next().await;
            let after = exchange.after(Code::Ok).await?;
            let (instead, end) = streamed([before, after]);
            let first = stream::iter(instead.or(first)).map(Ok);
            let rest = stream::unfold(subscription, |mut subscription| async {
                Some((Ok(subscription.next().await?), subscription))
            });
            Ok(tonic::Response::new(exchange.limited(first.chain(rest), end)))
        })
    }
}

/// What two rulings come to for a stream.
fn streamed(ruled: [Ruled; 2]) -> (Option<Bytes>, Option<End>) {
    let (mut instead, mut end) = (None, None);
    for ruled in ruled {
        match ruled {
            Ruled::Go => {}
            Ruled::Instead(bytes) => instead = Some(bytes),
            Ruled::Limit(limit) => end = Some(limit),
        }
    }
    (instead, end)
}

/// Registered with the engine for as long as it exists.
struct Subscription {
    shared: Arc<Shared>,
    id: u64,
    events: mpsc::UnboundedReceiver<Bytes>,
}

impl Subscription {
    fn begin(shared: &Arc<Shared>, filters: &[String]) -> Result<Self, Status> {
        let filters = Filters::parse(filters).map_err(|wrong| {
            let message =
                format!("subscription error: failed parsing subscription filters: {wrong}: invalid argument");
            Status::unknown(message)
        })?;
        let (id, events) = shared.engine.lock().subscribe(filters);
        shared.stats.count(|stats| {
            stats.subscriptions += 1;
            stats.subscribed += 1;
        });
        Ok(Self { shared: Arc::clone(shared), id, events })
    }

    async fn next(&mut self) -> Option<Bytes> {
        let event = self.events.recv().await;
        self.shared.hooks.may_stream().await;
        event
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.engine.lock().unsubscribe(self.id);
        self.shared.stats.count(|stats| stats.subscriptions -= 1);
    }
}

/// Decodes requests, and sends answers that are encoded already.
struct Frames<M>(PhantomData<fn() -> M>);

impl<M> Default for Frames<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M: Message + Default + 'static> Codec for Frames<M> {
    type Encode = Bytes;
    type Decode = M;
    type Encoder = Encoded;
    type Decoder = Self;

    fn encoder(&mut self) -> Encoded {
        Encoded
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<M: Message + Default + 'static> Decoder for Frames<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let length = source.remaining();
        let message = M::decode(source.copy_to_bytes(length));
        message
            .map(Some)
            .map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
    }
}

struct Encoded;

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.reserve(message.len());
        target.put(message);
        Ok(())
    }
}
