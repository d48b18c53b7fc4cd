//! The way of a call: through the hooks to an answer or a stream.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use hyper::{Request, Response, body::Incoming};
use prost::Message;
use tonic::{
    Code, Status,
    body::Body,
    server::{Grpc, ServerStreamingService, UnaryService},
};

use super::{
    frames::Frames,
    hooks::{Hooks, Verdict},
    wire::Connection,
};

/// The server that received a call.
pub(crate) trait Host: Send + Sync + 'static {
    /// The call, as hooks see it.
    type Call: Clone + Send + Sync + 'static;

    fn hooks(&self) -> &Hooks<Self::Call>;

    /// A call has arrived and no hook has decided about it yet.
    fn arrived(&self, call: &Self::Call);

    /// The largest message that the server sends, in bytes.
    fn largest_message(&self) -> usize;
}

/// One call.
pub(crate) struct Exchange<H: Host> {
    host: Arc<H>,
    connection: Connection,
    call: H::Call,
}

impl<H: Host> Clone for Exchange<H> {
    fn clone(&self) -> Self {
        Self { host: Arc::clone(&self.host), connection: self.connection.clone(), call: self.call.clone() }
    }
}

/// Copies from the message into the call what it requests.
type Ask<H, M> = fn(&mut <H as Host>::Call, &M);

/// Computes the answer to a call.
type Answer<H, M, A> = fn(&H, &<H as Host>::Call, &M) -> Result<A, Status>;

/// Registers a subscription. The returned events are encoded; dropping them ends the subscription.
type Begin<H> = fn(&Arc<H>, &<H as Host>::Call) -> Result<BoxStream<'static, Bytes>, Status>;

type Messages = BoxStream<'static, Result<Bytes, Status>>;

/// The error of grpc-go for an unknown method.
pub(crate) fn unknown_method(path: &str) -> Status {
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    Status::unimplemented(format!("unknown method {method} for service {service}"))
}

/// The error of grpc-go for an unknown service.
#[cfg(feature = "cri")]
pub(crate) fn unknown_service(path: &str) -> Status {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Status::unimplemented(format!("unknown service {service}"))
}

impl<H: Host> Exchange<H> {
    pub(crate) fn new(host: Arc<H>, connection: Connection, call: H::Call) -> Self {
        Self { host, connection, call }
    }

    /// Answers one message with one.
    pub(crate) async fn unary<M, A>(
        self,
        request: Request<Incoming>,
        ask: Ask<H, M>,
        answer: Answer<H, M, A>,
    ) -> Response<Body>
    where
        M: Message + Default + 'static,
        A: Message + 'static,
    {
        Grpc::new(Frames::default()).unary(Unary { exchange: self, ask, answer }, request).await
    }

    /// Answers one message with several at once.
    pub(crate) async fn list<M, A>(
        self,
        request: Request<Incoming>,
        ask: Ask<H, M>,
        answer: Answer<H, M, Vec<A>>,
    ) -> Response<Body>
    where
        M: Message + Default + 'static,
        A: Message + 'static,
    {
        Grpc::new(Frames::default()).server_streaming(List { exchange: self, ask, answer }, request).await
    }

    /// Answers one message with events, as they happen.
    pub(crate) async fn subscribe<M: Message + Default + 'static>(
        self,
        request: Request<Incoming>,
        ask: Ask<H, M>,
        begin: Begin<H>,
    ) -> Response<Body> {
        Grpc::new(Frames::default()).server_streaming(Subscribe { exchange: self, ask, begin }, request).await
    }

    /// Asks the hooks about the call: bytes to send instead of an answer, or where to end a stream.
    async fn before(&self) -> Result<Ruled, Status> {
        self.host.arrived(&self.call);
        self.carry_out(self.host.hooks().before(&self.call).await).await
    }

    async fn after(&self, code: Code) -> Result<Ruled, Status> {
        self.carry_out(self.host.hooks().after(&self.call, code).await).await
    }

    async fn carry_out(&self, verdict: Verdict) -> Result<Ruled, Status> {
        match verdict {
            Verdict::Pass | Verdict::Hold(_) => Ok(Ruled::Go),
            Verdict::Fail { code, message } => Err(Status::new(code, message)),
            Verdict::Garbage(bytes) => Ok(Ruled::Instead(bytes)),
            Verdict::Hang => std::future::pending().await,
            Verdict::Close => self.close().await,
            Verdict::Cut(count) => Ok(Ruled::Limit(End { count, cut: true })),
            Verdict::End(count) => Ok(Ruled::Limit(End { count, cut: false })),
        }
    }

    async fn close<T>(&self) -> T {
        self.connection.close();
        std::future::pending().await
    }

    /// Fails as grpc-go does for a message that is too large.
    fn within_limit(&self, message: Vec<u8>) -> Result<Bytes, Status> {
        let limit = self.host.largest_message();
        if message.len() > limit {
            let message =
                format!("grpc: trying to send message larger than max ({} vs. {limit})", message.len());
            return Err(Status::resource_exhausted(message));
        }
        Ok(message.into())
    }

    /// Ends a stream of messages where the hooks decided.
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

/// The decision of the hooks, as far as it is still to be carried out.
enum Ruled {
    Go,
    Instead(Bytes),
    Limit(End),
}

/// Where a stream ends early.
#[derive(Clone, Copy)]
struct End {
    count: usize,
    /// Whether the connection ends too.
    cut: bool,
}

struct Unary<H: Host, M, A> {
    exchange: Exchange<H>,
    ask: Ask<H, M>,
    answer: Answer<H, M, A>,
}

impl<H: Host, M: Message + Default + 'static, A: Message + 'static> UnaryService<M> for Unary<H, M, A> {
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
            let answer = answer(&exchange.host, &exchange.call, &asked)
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

struct List<H: Host, M, A> {
    exchange: Exchange<H>,
    ask: Ask<H, M>,
    answer: Answer<H, M, Vec<A>>,
}

impl<H: Host, M, A> ServerStreamingService<M> for List<H, M, A>
where
    M: Message + Default + 'static,
    A: Message + 'static,
{
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        let mut exchange = self.exchange.clone();
        let answer = self.answer;
        let asked = request.into_inner();
        (self.ask)(&mut exchange.call, &asked);
        Box::pin(async move {
            let before = exchange.before().await?;
            let messages = answer(&exchange.host, &exchange.call, &asked);
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

struct Subscribe<H: Host, M> {
    exchange: Exchange<H>,
    ask: Ask<H, M>,
    begin: Begin<H>,
}

impl<H: Host, M: Message + Default + 'static> ServerStreamingService<M> for Subscribe<H, M> {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        let mut exchange = self.exchange.clone();
        let begin = self.begin;
        (self.ask)(&mut exchange.call, &request.into_inner());
        Box::pin(async move {
            let before = exchange.before().await?;
            exchange.host.hooks().may_subscribe().await;
            let events = begin(&exchange.host, &exchange.call)?;
            if let Ruled::Limit(End { count: 0, .. }) = before {
                let (_, end) = streamed([before, Ruled::Go]);
                return Ok(tonic::Response::new(exchange.limited(stream::empty(), end)));
            }
            let host = Arc::clone(&exchange.host);
            let mut events = events
                .then(move |event| {
                    let host = Arc::clone(&host);
                    async move {
                        host.hooks().may_stream().await;
                        event
                    }
                })
                .boxed();
            // grpc-go sends the headers with the first message, so there is no answer before it.
            let first = events.next().await;
            let after = exchange.after(Code::Ok).await?;
            let (instead, end) = streamed([before, after]);
            let first = stream::iter(instead.or(first));
            Ok(tonic::Response::new(exchange.limited(first.chain(events).map(Ok), end)))
        })
    }
}

/// Combines two rulings for a stream.
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
