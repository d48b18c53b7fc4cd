//! The body of an answer, as long as it keeps to what it may take of memory.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::grpc::weight::{Fields, Weight};

const MIB: usize = 1024 * 1024;

/// What a message begins with: whether it is compressed, and how many bytes follow.
const PREFIX: usize = 5;

/// Messages of up to so many bytes, and that take no more than so much beside these once they are decoded, come side by
/// side; of larger ones only one at a time.
const SIDE_BY_SIDE: usize = 256 * 1024;
const DECODED_SIDE_BY_SIDE: usize = MIB;

/// How much a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its bytes.
    pub bytes: usize,
    /// What it may take beside its bytes once it is decoded, in bytes.
    pub decoded: usize,
    /// What that is reckoned by.
    pub fields: Fields,
}

/// What an engine may cost by default, in bytes: 128 MiB.
const DEFAULT_MEMORY: usize = 128 * MIB;

impl Limit {
    /// Of an answer that is never large.
    pub const SMALL: Self =
        Self { bytes: 4 * MIB, decoded: 4 * MIB, fields: Fields { outer: 1024, inner: 640 } };
}

/// What an engine may cost in memory while its answers are read: 128 MiB by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(usize);

impl Default for Memory {
    fn default() -> Self {
        Self(DEFAULT_MEMORY)
    }
}

impl Memory {
    /// So many bytes; 1 MiB at least.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(bytes.max(MIB))
    }

    /// The limit of an answer, given what it is by default: its share.
    #[must_use]
    pub fn limit(self, default: Limit) -> Limit {
        let share = |limit: usize| limit.saturating_mul(self.0 / MIB) / (DEFAULT_MEMORY / MIB);
        Limit { bytes: share(default.bytes), decoded: share(default.decoded), ..default }
    }
}

/// A message is larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    limit: Limit,
    /// How many bytes it has, if these are too many.
    bytes: Option<usize>,
}

impl Excess {
    /// Whether the limit depends on the memory that an engine may cost.
    #[must_use]
    pub fn is_configurable(&self) -> bool {
        self.limit != Limit::SMALL
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => {
                write!(f, "the answer has {bytes} bytes, more than the {} that it may have", self.limit.bytes)
            }
            None => write!(
                f,
                "the answer has so many entries that it would take more than {} bytes of memory",
                self.limit.decoded
            ),
        }
    }
}

impl Error for Excess {}

/// Large messages of a connection: one at a time.
pub(crate) type Room = Arc<Semaphore>;

/// Keeps other large messages from coming as long as there is a clone of it: for as long as anything is left of the one
/// that came.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Hold {
    fn set(&self, permit: OwnedSemaphorePermit) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A body of messages, each within the limit.
pub struct Limited<B> {
    body: B,
    limit: Limit,
    room: Room,
    hold: Hold,
    prefix: Vec<u8>,
    /// The message that is being read, and how many of its bytes are missing.
    message: Option<(Weight, usize)>,
    /// What came, but waits for room.
    waiting: Option<(Bytes, Acquiring)>,
}

impl<B> Limited<B> {
    pub(crate) fn new(body: B, limit: Limit, room: Room, hold: Hold) -> Self {
        Self { body, limit, room, hold, prefix: Vec::with_capacity(PREFIX), message: None, waiting: None }
    }

    /// Reads on; returns whether a message is large, as this shows: for that one there has to be room.
    fn read(&mut self, mut piece: &[u8]) -> Result<bool, Excess> {
        let mut is_large = false;
        while !piece.is_empty() {
            match &mut self.message {
                None => {
                    let count = piece.len().min(PREFIX - self.prefix.len());
                    self.prefix.extend_from_slice(&piece[..count]);
                    piece = &piece[count..];
                    if let [_, length @ ..] = &self.prefix[..]
                        && let Ok(length) = <[u8; 4]>::try_from(length)
                    {
                        let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                        if bytes > self.limit.bytes {
                            return Err(Excess { limit: self.limit, bytes: Some(bytes) });
                        }
                        self.prefix.clear();
                        is_large |= bytes > SIDE_BY_SIDE;
                        self.message = (bytes > 0).then(|| (Weight::new(bytes, self.limit.fields), bytes));
                    }
                }
                Some((weight, missing)) => {
                    let count = piece.len().min(*missing);
                    weight.read(&piece[..count]);
                    piece = &piece[count..];
                    *missing -= count;
                    let (total, is_whole) = (weight.total(), *missing == 0);
                    if total > self.limit.decoded {
                        return Err(Excess { limit: self.limit, bytes: None });
                    }
                    is_large |= total > DECODED_SIDE_BY_SIDE;
                    if is_whole {
                        self.message = None;
                    }
                }
            }
        }
        Ok(is_large)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Limited<B>
where
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some((_, acquiring)) = &mut self.waiting {
            let permit = ready!(acquiring.as_mut().poll(context))?;
            self.hold.set(permit);
            let came = self.waiting.take().map(|(bytes, _)| Ok(Frame::data(bytes)));
            return Poll::Ready(came);
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let Some(bytes) = frame.data_ref().cloned() else { return Poll::Ready(Some(Ok(frame))) };
        if self.read(&bytes)? && !self.hold.is_set() {
            let acquiring = Box::pin(Arc::clone(&self.room).acquire_owned());
            self.waiting = Some((bytes, acquiring));
            return self.poll_frame(context);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<B> fmt::Debug for Limited<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio::sync::Semaphore;

    use super::*;

    const LIMIT: Limit =
        Limit { bytes: 1_000_000, decoded: 10_000, fields: Fields { outer: 1_000, inner: 10 } };

    fn message(content: &[u8]) -> Bytes {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[0], &length[..], content].concat().into()
    }

    fn room() -> Room {
        Arc::new(Semaphore::new(1))
    }

    fn limited(body: Bytes, room: &Room) -> Limited<Full<Bytes>> {
        Limited::new(Full::new(body), LIMIT, Arc::clone(room), Hold::default())
    }

    #[tokio::test]
    async fn what_keeps_to_the_limit_is_passed_on_as_it_is() {
        let empty = message(&[]);
        let several =
            [message(&[0x0a, 0].repeat(10)), empty.clone(), message(&[0x0a, 0].repeat(10))].concat();
        for body in [Bytes::new(), empty, message(b"hello"), several.into(), message(&[7; 1_000_000])] {
            let passed = limited(body.clone(), &room()).collect().await.unwrap().to_bytes();
            assert_eq!(passed, body);
        }
    }

    #[tokio::test]
    async fn what_exceeds_it_is_an_error_that_says_by_what() {
        for (body, expected) in [
            (
                message(&[7; 1_000_001]),
                "the answer has 1000001 bytes, more than the 1000000 that it may have",
            ),
            // It is not waited for the rest.
            (message(&[7; 1_000_001]).slice(..5), "the answer has 1000001 bytes"),
            (
                message(&[0x0a, 0].repeat(11)),
                "the answer has so many entries that it would take more than 10000",
            ),
        ] {
            let error = limited(body, &room()).collect().await.unwrap_err();
            assert!(error.is::<Excess>() && error.to_string().starts_with(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn large_messages_come_one_at_a_time_and_small_ones_beside_them() {
        let (room, large) = (room(), message(&[7; SIDE_BY_SIDE + 1]));
        let mut first = limited(large.clone(), &room);
        let hold = first.hold.clone();
        assert!(first.frame().await.unwrap().is_ok());
        let mut second = limited(large, &room);
        let mut frame = Box::pin(second.frame());
        assert!(futures_util::poll!(&mut frame).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut frame).is_pending(), "something is left of the first one");
        assert!(limited(message(&[7; SIDE_BY_SIDE]), &room).collect().await.is_ok());
        drop(hold);
        assert!(frame.await.unwrap().is_ok());
    }

    #[test]
    fn limits_grow_and_shrink_with_the_memory() {
        let half = Memory::new(DEFAULT_MEMORY / 2).limit(LIMIT);
        assert_eq!((half.bytes, half.decoded), (500_000, 5_000));
        assert_eq!(Memory::default().limit(LIMIT), LIMIT);
        assert_eq!(Memory::new(0).limit(LIMIT).bytes, 7_812, "1 MiB");
        assert!(Memory::new(usize::MAX).limit(LIMIT).bytes > 1_000_000);
    }
}
