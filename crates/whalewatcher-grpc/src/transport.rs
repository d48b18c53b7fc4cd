//! The one HTTP/2 connection on which all is asked.
//!
//! Not tonic's channel: that one connects again by itself, and then nobody would notice that the engine at the other end
//! is another one; and its tasks would have to be kept from outliving it all the same.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::body::Body;
use tower_service::Service;
use whalewatcher_core::{EngineError, Spawner, Tasks};

use crate::endpoint::Endpoint;
use crate::wire::{Greeting, Heard, Wire};

/// A connection to an engine. Dropping it closes the descriptor and ends the tasks that drive it.
#[derive(Debug)]
pub struct Transport {
    channel: Channel,
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
        let stream = UnixStream::connect(endpoint.path()).await.map_err(failed)?;
        let peer = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
        let (wire, greeting) = Wire::new(stream);
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let (requests, connection) = handshake(Spawn(spawner.clone()), TokioIo::new(wire))
            .await
            .map_err(|error| failed(io::Error::other(error)))?;
        spawner.spawn(async move {
            // Whoever waits for an answer is told as well.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection is gone");
            }
        });
        Ok(Self { channel: Channel(requests), peer: peer.filter(|pid| *pid != 0), greeting, _tasks: tasks })
    }

    /// What sends requests, for a generated client's `with_origin`.
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

/// Sends requests on the connection, any number at once.
#[derive(Clone, Debug)]
pub struct Channel(SendRequest<Body>);

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
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
