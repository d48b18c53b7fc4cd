//! Connections to an engine that are kept and used again.
//!
//! Not hyper-util's client: that one has a task for each answer, which gives the connection back once the answer was read. Who
//! asks the next question at once comes before that task, and gets a new connection: of 100 inspections, 16 at once, there
//! were twice as many connections as needed. Here an answer that was read gives its connection back by itself.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use whalewatcher_core::{EngineError, Spawner};

use crate::failure;
use crate::transport::Connector;

/// How many connections that nobody uses are kept: as many as inspections run at once.
pub(crate) const MAX_IDLE: usize = 16;
/// For how long.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

type Sender = SendRequest<Empty<Bytes>>;

/// Connections to one engine.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    idle: Arc<Idle>,
    spawner: Spawner,
}

impl Pool {
    /// Connects to nothing yet. What it spawns are the tasks that drive connections, and one that closes what nobody uses.
    pub(crate) fn new(connector: Connector, spawner: Spawner) -> Self {
        let idle = Arc::<Idle>::default();
        spawner.spawn(close_unused(idle.clone()));
        Self { connector, idle, spawner }
    }

    /// What the engine answers, of which the headers have come.
    pub(crate) async fn send(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Answer>, EngineError> {
        loop {
            let kept = self.kept().await;
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let idle = self.idle.clone();
                    return Ok(response.map(|body| Answer { body, lent: Some((sender, idle)) }));
                }
                // The engine may close what is kept at any time. What was not sent is sent on another one.
                Err(mut error) => match error.take_message().filter(|_| is_kept) {
                    Some(unsent) => request = unsent,
                    None => return Err(failure::of_exchange(self.connector.endpoint(), error.into_error())),
                },
            }
        }
    }

    async fn kept(&self) -> Option<Sender> {
        loop {
            let mut sender = self.idle.take()?;
            // Of one that was just used the end may be still to come.
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self) -> Result<Sender, EngineError> {
        let endpoint = self.connector.endpoint();
        let connecting = self.connector.clone().connect().await;
        let stream = connecting.map_err(|error| failure::of_connecting(endpoint, error))?;
        let failed = |error| failure::of_exchange(endpoint, error);
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let (tell, told) = oneshot::channel();
        self.spawner.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection is gone");
                // Once it was ready, nobody wants to know.
                let _ = tell.send(error);
            }
        });
        match sender.ready().await {
            Ok(()) => Ok(sender),
            Err(closed) => Err(failed(told.await.unwrap_or(closed))),
        }
    }
}

/// What an engine answers. Read to its end, it gives the connection back; dropped before, it closes it.
pub(crate) struct Answer {
    body: Incoming,
    lent: Option<(Sender, Arc<Idle>)>,
}

impl Answer {
    fn give_back(&mut self) {
        if let Some((sender, idle)) = self.lent.take() {
            idle.put(sender);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

/// The connections that nobody uses.
#[derive(Debug, Default)]
struct Idle {
    /// In the order in which they came.
    kept: Mutex<Vec<Kept>>,
    came: Notify,
}

#[derive(Debug)]
struct Kept {
    sender: Sender,
    since: Instant,
}

impl Idle {
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last, so that what is not needed is not used.
    fn take(&self) -> Option<Sender> {
        self.kept().pop().map(|kept| kept.sender)
    }

    fn put(&self, sender: Sender) {
        let mut kept = self.kept();
        if kept.len() < MAX_IDLE && !sender.is_closed() {
            kept.push(Kept { sender, since: Instant::now() });
            if kept.len() == 1 {
                self.came.notify_one();
            }
        }
    }

    /// Closes what was not used for too long, and tells when to do that again.
    fn close_unused(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut kept = self.kept();
        kept.retain(|kept| kept.since + IDLE > now);
        kept.first().map(|oldest| oldest.since + IDLE)
    }
}

async fn close_unused(idle: Arc<Idle>) {
    loop {
        match idle.close_unused() {
            Some(due) => sleep_until(due).await,
            None => idle.came.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::spawn;
    use tokio::time::sleep;

    use super::*;

    /// A connection with nobody at the other end, which tells when it is over.
    async fn sender() -> (Sender, oneshot::Receiver<()>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        let (mut sender, connection) = handshake(TokioIo::new(ours)).await.unwrap();
        let (tell, over) = oneshot::channel();
        spawn(async move {
            let _ = connection.await;
            let _ = tell.send(());
        });
        sender.ready().await.unwrap();
        (sender, over, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_is_closed_after_a_while() {
        let idle = Arc::<Idle>::default();
        let closing = spawn(close_unused(idle.clone()));
        for _ in 0..2 {
            let (first, first_over, _theirs) = sender().await;
            idle.put(first);
            sleep(IDLE / 2).await;
            let (second, mut second_over, _theirs) = sender().await;
            idle.put(second);
            sleep(IDLE * 3 / 4).await;
            assert_eq!(idle.kept().len(), 1);
            first_over.await.unwrap();
            assert!(second_over.try_recv().is_err(), "it was put back later");
            sleep(IDLE / 2).await;
            second_over.await.unwrap();
            assert!(idle.take().is_none());
        }
        closing.abort();
    }

    #[tokio::test]
    async fn no_more_are_kept_than_are_used_at_once_and_the_last_one_is_used_first() {
        let idle = Idle::default();
        let mut held = Vec::new();
        for _ in 0..=MAX_IDLE {
            let (sender, over, theirs) = sender().await;
            idle.put(sender);
            held.push((over, theirs));
        }
        assert_eq!(idle.kept().len(), MAX_IDLE);
        let (surplus, _theirs) = held.pop().unwrap();
        surplus.await.unwrap();
        drop(idle.take());
        let (last, _theirs) = held.pop().unwrap();
        last.await.unwrap();
        assert!(held.iter_mut().all(|(over, _)| over.try_recv().is_err()), "all others are kept");
    }

    #[tokio::test]
    async fn what_the_other_end_has_closed_is_not_kept() {
        let idle = Idle::default();
        let (sender, over, theirs) = sender().await;
        drop(theirs);
        over.await.unwrap();
        idle.put(sender);
        assert!(idle.take().is_none());
    }
}
