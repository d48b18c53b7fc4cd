//! Bodies of answers: documents, event streams, and truncated ones.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{
    events::{Listener, StreamQuery},
    server::Shared,
};

/// The body of an answer.
pub(super) enum Body {
    /// A document.
    Whole(Option<Bytes>),
    /// One line for each event.
    Events(Box<EventStream>),
    /// The first bytes of another body, then an error, which closes the connection.
    Cut(Box<Cut>),
}

pub(super) struct Cut {
    of: Body,
    left: usize,
    /// Data that was sent reaches the client only if there is a pause before the error.
    paused: bool,
}

impl Body {
    pub(super) fn cut_after(self, bytes: usize) -> Self {
        Self::Cut(Box::new(Cut { of: self, left: bytes, paused: false }))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => {
                events.poll_next(context).map(|line| line.map(|line| Ok(Frame::data(line))))
            }
            Self::Cut(cut) => cut.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Events(_) | Self::Cut(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
            // The length of the whole body, though less is sent.
            Self::Cut(cut) => cut.of.size_hint(),
        }
    }
}

impl Cut {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            if !self.paused {
                self.paused = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(io::Error::other("cut short by a hook"))));
        }
        let frame = match ready!(Pin::new(&mut self.of).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        let mut bytes = frame.into_data().unwrap_or_default();
        bytes.truncate(self.left);
        self.left -= bytes.len();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An event stream to a client, from before its registration to its end.
pub(super) struct EventStream {
    shared: Arc<Shared>,
    stage: Stage,
    replay: VecDeque<Bytes>,
    /// An event that was taken already, to be delivered first.
    pulled: Option<Bytes>,
    until: Option<Waiting>,
}

enum Stage {
    /// The headers are not sent yet.
    New(StreamQuery),
    /// The headers are sent; the listener is registered once nothing holds that back.
    Held(StreamQuery, Waiting),
    Registered(Arc<Listener>),
    Over,
}

impl EventStream {
    pub(super) fn new(shared: Arc<Shared>, query: StreamQuery) -> Self {
        let until = query.until.filter(|_| !shared.engine.endless_replays);
        let until = until.map(|until| shared.engine.clock.reached(until));
        Self { shared, stage: Stage::New(query), replay: VecDeque::new(), pulled: None, until }
    }

    /// Resolves with the first event or the end of the stream, so that headers can be held back until then.
    pub(super) async fn pull(&mut self) {
        self.pulled = std::future::poll_fn(|context| self.poll_next(context)).await;
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(line) = self.pulled.take() {
            return Poll::Ready(Some(line));
        }
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::New(query) => {
                    self.stage = Stage::Held(query, Box::pin(self.shared.hooks.may_subscribe()));
                    // dockerd sends the headers before it registers the listener: a pause here sends them.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Held(query, mut held) => {
                    if held.as_mut().poll(context).is_pending() {
                        self.stage = Stage::Held(query, held);
                        return Poll::Pending;
                    }
                    let (replay, listener) = self.shared.engine.lock().register(query);
                    self.replay = replay;
                    self.stage = Stage::Registered(listener);
                    self.shared.stats.count(|stats| {
                        stats.listeners += 1;
                        stats.registered += 1;
                    });
                }
                Stage::Registered(listener) => {
                    let next = match self.replay.pop_front() {
                        Some(line) => Poll::Ready(Some(line)),
                        None => listener.poll_next(context),
                    };
                    self.stage = Stage::Registered(listener);
                    match next {
                        Poll::Ready(Some(line)) => return Poll::Ready(Some(line)),
                        Poll::Ready(None) => return Poll::Ready(self.end()),
                        Poll::Pending => {}
                    }
                    return match &mut self.until {
                        Some(reached) => reached.as_mut().poll(context).map(|()| self.end()),
                        None => Poll::Pending,
                    };
                }
                Stage::Over => return Poll::Ready(None),
            }
        }
    }

    fn end(&mut self) -> Option<Bytes> {
        if let Stage::Registered(listener) = std::mem::replace(&mut self.stage, Stage::Over) {
            self.shared.engine.lock().deregister(&listener);
            self.shared.stats.count(|stats| stats.listeners -= 1);
        }
        self.until = None;
        None
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.end();
    }
}
