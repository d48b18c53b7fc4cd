//! The one HTTP/2 connection for all requests.
//!
//! tonic's own channel is not used: it reconnects by itself, so that another engine at the same path would go
//! unnoticed, and its tasks outlive it.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SetOnce};
use tonic::body::Body;
use tower_service::Service;
use whalewatcher_core::adapter::{Spawner, Tasks};
use whalewatcher_core::{EngineError, ErrorKind};

use crate::endpoint::Endpoint;
use crate::grpc::body::{Hold, Limit, Limited, Room};
use crate::grpc::greeting::{GreetedStream, Greeting, GreetingSlot};
use crate::socket::{self, SocketIdentity};

/// How much the engine may send before it is read: of one answer, and of all together. The total is enough
/// for 128 large answers that wait for their turn. By default at most 64 inspections and about 40 other calls
/// run at once. More waiting answers would block the one whose turn it is until their time limits end them.
const WINDOW: u32 = 32 * 1024;
const WINDOWS: u32 = 4 * 1024 * 1024;

/// The largest headers of an answer, in bytes.
const HEADERS: u32 = 16 * 1024;

/// A connection to an engine. Dropping it closes the descriptor and ends the tasks that drive it.
#[derive(Debug)]
pub struct Transport {
    http: Http2,
    endpoint: Endpoint,
    /// The socket that the connection was made to.
    bound: Option<SocketIdentity>,
    peer: Option<u32>,
}

impl Transport {
    /// Connects. The first call shows whether an engine of the expected kind answers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreachable`](whalewatcher_core::ErrorKind::Unreachable) or
    /// [`ErrorKind::PermissionDenied`](whalewatcher_core::ErrorKind::PermissionDenied).
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let failed = |error: io::Error| endpoint.engine().connect_error(endpoint, error);
        let (stream, bound) = socket::connect(endpoint.path()).await.map_err(failed)?;
        let peer = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
        let http = Http2::open(stream, Settings::default()).await.map_err(failed)?;
        let endpoint = endpoint.clone();
        let peer = peer.filter(|pid| *pid != 0);
        Ok(Self { http, endpoint, bound, peer })
    }

    /// Checks that the socket at the endpoint's path is still the one that the connection was made to:
    /// another engine may have bound the path while the old one still answers on this connection. Call this
    /// with each probe and each list.
    ///
    /// A path without a socket, or one that cannot be read, is not an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Disconnected`] if another socket is bound there.
    pub fn check_socket(&self) -> Result<(), EngineError> {
        if self.bound.is_some_and(|bound| bound.is_replaced(self.endpoint.path())) {
            let message = format!("another socket is bound at {} now: connecting to that one", self.endpoint);
            return Err(EngineError::new(ErrorKind::Disconnected, message));
        }
        Ok(())
    }

    /// Returns the socket that the connection was made to, where it could be identified.
    #[must_use]
    pub fn socket(&self) -> Option<SocketIdentity> {
        self.bound
    }

    /// Returns the service that sends requests, for a generated client's `with_origin`. Answers must be
    /// [small](Limit::SMALL), unless the channel is [given another limit](Channel::limited).
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.http.channel()
    }

    /// Returns what the server sent first; `None` if nothing has arrived yet.
    #[must_use]
    pub fn greeting(&self) -> Option<&Greeting> {
        self.http.greeting()
    }

    /// Returns the PID of the process that listens at the socket, as the kernel reports it.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        self.peer
    }
}

/// How HTTP/2 is spoken on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How much of one answer the server may send before it is read, in bytes.
    pub window: u32,
    /// How much of all answers together.
    pub windows: u32,
    /// After how long without any traffic the server is pinged, and how long it may take to answer; else the
    /// connection fails.
    pub keep_alive: Option<(Duration, Duration)>,
}

/// Those for an engine on this host.
impl Default for Settings {
    fn default() -> Self {
        Self { window: WINDOW, windows: WINDOWS, keep_alive: None }
    }
}

/// HTTP/2 on a stream that is connected already. Dropping it closes the stream and ends the tasks that drive it.
#[derive(Debug)]
pub struct Http2 {
    channel: Channel,
    greeting: GreetingSlot,
    end: Arc<SetOnce<Option<hyper::Error>>>,
    _tasks: Tasks,
}

impl Http2 {
    /// Starts HTTP/2. The first call shows whether the server speaks it.
    ///
    /// # Errors
    ///
    /// If the stream is closed already.
    pub async fn open<S>(stream: S, settings: Settings) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (wire, greeting) = GreetedStream::new(stream);
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let mut builder = Builder::new(Spawn(spawner.clone()));
        builder
            .initial_stream_window_size(settings.window)
            .initial_connection_window_size(settings.windows)
            .max_header_list_size(HEADERS);
        if let Some((interval, limit)) = settings.keep_alive {
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(interval)
                .keep_alive_timeout(limit)
                .keep_alive_while_idle(true);
        }
        let (requests, connection) = builder.handshake(TokioIo::new(wire)).await.map_err(io::Error::other)?;
        let end = Arc::new(SetOnce::new());
        let ended = end.clone();
        spawner.spawn(async move {
            // The calls in flight fail with the same reason, and later ones without it.
            let error = connection.await.err();
            if let Some(error) = &error {
                tracing::debug!(%error, "connection lost");
            }
            // It is set nowhere else.
            let _ = ended.set(error);
        });
        let room = Arc::new(Semaphore::new(1));
        let channel = Channel { requests, limit: Limit::SMALL, room, hold: None };
        Ok(Self { channel, greeting, end, _tasks: tasks })
    }

    /// Returns the service that sends requests, as that of a [`Transport`](Transport::channel).
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns what the server sent first; `None` if nothing has arrived yet.
    #[must_use]
    pub fn greeting(&self) -> Option<&Greeting> {
        self.greeting.get()
    }

    /// Waits until the connection is lost, and returns why; `None` if the server closed it as it should.
    pub async fn ended(&self) -> Option<&(dyn Error + 'static)> {
        let error = self.end.wait().await.as_ref();
        match self.greeting.failure() {
            Some(failure) => Some(failure),
            None => error.map(|error| error as _),
        }
    }

    /// Returns whether the connection is known to be lost.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel.requests.is_closed()
    }
}

/// Returns the authority of requests. HTTP/2 requires one; engines ignore it.
#[must_use]
pub fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

/// Sends requests on the connection, any number at once, and limits the memory that their answers take. A
/// generated client must not set a limit of its own: use `max_decoding_message_size(usize::MAX)`.
///
/// An answer that is too large fails with [`TooLarge`](crate::grpc::TooLarge) as the source of its status. Of
/// answers with more than 256 KiB only one is read at a time, until the [`Hold`] in the extensions of its
/// response is dropped.
#[derive(Clone, Debug)]
pub struct Channel {
    requests: SendRequest<Body>,
    limit: Limit,
    room: Room,
    hold: Option<Hold>,
}

impl Channel {
    /// Returns a channel with another limit for each message of an answer.
    #[must_use]
    pub fn limited(&self, limit: Limit) -> Self {
        Self { limit, ..self.clone() }
    }

    /// Returns a channel for calls that are made while another answer, with this hold, is still in use: a
    /// large answer shares the place of that one, if that was large too, and does not wait for its end.
    #[must_use]
    pub fn within(&self, hold: &Hold) -> Self {
        Self { hold: Some(hold.clone()), ..self.clone() }
    }

    /// Returns a channel for an endless stream: its large messages do not wait for those of other answers.
    #[must_use]
    pub fn for_stream(&self, limit: Limit) -> Self {
        Self { limit, room: Arc::new(Semaphore::new(1)), ..self.clone() }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Limited<Incoming>>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (limit, room, hold) = (self.limit, Arc::clone(&self.room), self.hold.clone().unwrap_or_default());
        let response = self.requests.send_request(request);
        Box::pin(async move {
            let response = response.await?;
            let mut response = response.map(|body| Limited::new(body, limit, room, hold.clone()));
            response.extensions_mut().insert(hold);
            Ok(response)
        })
    }
}

/// Makes the tasks that hyper spawns belong to the connection.
#[derive(Clone)]
struct Spawn(Spawner);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
