//! The one HTTP/2 connection on which all is asked.
//!
//! Not tonic's channel: that one connects again by itself, and then nobody would notice that the engine at the other end
//! is another one; and its tasks would have to be kept from outliving it all the same.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower_service::Service;
use whalewatcher_core::adapter::{Spawner, Tasks};
use whalewatcher_core::{EngineError, ErrorKind};

use crate::endpoint::Endpoint;
use crate::grpc::body::{Hold, Limit, Limited, Room};
use crate::grpc::wire::{Greeting, Heard, Wire};
use crate::socket::{self, Bound};

/// How much the engine may send that nobody has read yet: of one answer, and of all. That of all is enough for 128 large
/// answers that wait for their turn: more than there are at once by default, which is 64 for inspections, and some 40 for lists
/// and what is asked beside them. Where more wait, they keep the one whose turn it is from coming until their time limits
/// end them.
const WINDOW: u32 = 32 * 1024;
const WINDOWS: u32 = 4 * 1024 * 1024;

/// How large the headers of an answer may be.
const HEADERS: u32 = 16 * 1024;

/// A connection to an engine. Dropping it closes the descriptor and ends the tasks that drive it.
#[derive(Debug)]
pub struct Transport {
    channel: Channel,
    endpoint: Endpoint,
    /// The socket that it was made to.
    bound: Option<Bound>,
    peer: Option<u32>,
    greeting: Greeting,
    _tasks: Tasks,
}

impl Transport {
    /// Connects. Whether an engine of the kind is there is for the first question to show.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreachable`](whalewatcher_core::ErrorKind::Unreachable) or
    /// [`ErrorKind::PermissionDenied`](whalewatcher_core::ErrorKind::PermissionDenied).
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let failed = |error: io::Error| endpoint.engine().of_connecting(endpoint, error);
        let (stream, bound) = socket::connect(endpoint.path()).await.map_err(failed)?;
        let peer = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
        let (wire, greeting) = Wire::new(stream);
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let (requests, connection) = Builder::new(Spawn(spawner.clone()))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .max_header_list_size(HEADERS)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| failed(io::Error::other(error)))?;
        spawner.spawn(async move {
            // Whoever waits for an answer is told as well.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection is gone");
            }
        });
        let room = Arc::new(Semaphore::new(1));
        let channel = Channel { requests, limit: Limit::SMALL, room, hold: None };
        let endpoint = endpoint.clone();
        let peer = peer.filter(|pid| *pid != 0);
        Ok(Self { channel, endpoint, bound, peer, greeting, _tasks: tasks })
    }

    /// Compares the socket at the endpoint's path with the one that the connection was made to: another engine may have
    /// taken the path over, while the old one still answers here. To be called whenever the engine is probed or listed.
    ///
    /// A path without a socket is not taken over. What cannot be seen is not compared.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Disconnected`] if another socket is bound there.
    pub fn check_socket(&self) -> Result<(), EngineError> {
        if self.bound.is_some_and(|bound| bound.is_replaced(self.endpoint.path())) {
            let message = format!("another socket is bound at {} by now: connecting to that", self.endpoint);
            return Err(EngineError::new(ErrorKind::Disconnected, message));
        }
        Ok(())
    }

    /// What sends requests, for a generated client's `with_origin`; answers are to be [small](Limit::SMALL) unless it is
    /// [configured otherwise](Channel::limited).
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What came first from the other end; `None` if nothing has come yet.
    #[must_use]
    pub fn heard(&self) -> Option<&Heard> {
        self.greeting.heard()
    }

    /// The PID of whoever listens at the socket, as the kernel tells it.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        self.peer
    }
}

/// What requests are sent to: a name that HTTP/2 wants and that nobody looks at.
#[must_use]
pub fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

/// Sends requests on the connection, any number at once, and sees to it that no answer takes more memory than it may. A
/// generated client must set no limit of its own: `max_decoding_message_size(usize::MAX)`.
///
/// An answer that is too large fails with an [`Excess`](crate::grpc::Excess) as the source of its status. Of those with more than
/// 256 KiB one comes at a time: until the [`Hold`] among the extensions of its response is dropped.
#[derive(Clone, Debug)]
pub struct Channel {
    requests: SendRequest<Body>,
    limit: Limit,
    room: Room,
    hold: Option<Hold>,
}

impl Channel {
    /// The same, with another limit for each message of an answer.
    #[must_use]
    pub fn limited(&self, limit: Limit) -> Self {
        Self { limit, ..self.clone() }
    }

    /// The same for what is asked while another answer, with this hold, is still in use: a large answer takes the place of that
    /// one, if it was large too, instead of waiting for its end.
    #[must_use]
    pub fn within(&self, hold: &Hold) -> Self {
        Self { hold: Some(hold.clone()), ..self.clone() }
    }

    /// The same for a stream without end: large messages of it come beside those of other answers.
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

/// Has the tasks that hyper needs belong to the connection.
#[derive(Clone)]
struct Spawn(Spawner);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
