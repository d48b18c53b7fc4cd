//! Limits the memory that the body of an answer takes.

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

/// The length of a message's prefix: a flag for compression, and how many bytes follow.
const PREFIX: usize = 5;

/// The largest messages that are read at the same time as others: their bytes, and the memory that they take
/// in addition once decoded. Larger ones are read one at a time.
const SIDE_BY_SIDE: usize = 256 * 1024;
const DECODED_SIDE_BY_SIDE: usize = MIB;

/// The limit of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The message itself, in bytes.
    pub bytes: usize,
    /// The memory that it takes in addition once it is decoded, in bytes.
    pub decoded: usize,
    /// The memory that each field is estimated to take.
    pub fields: Fields,
}

/// The default of [`Memory`]: 128 MiB.
const DEFAULT_MEMORY: usize = 128 * MIB;

impl Limit {
    /// The limit of answers that are never large. It does not depend on [`Memory`].
    pub const SMALL: Self =
        Self { bytes: 4 * MIB, decoded: 4 * MIB, fields: Fields { outer: 1024, inner: 640 } };
}

/// The memory that one engine may take while its answers are read: 128 MiB by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(usize);

impl Default for Memory {
    fn default() -> Self {
        Self(DEFAULT_MEMORY)
    }
}

impl Memory {
    /// Sets the memory in bytes; at least 1 MiB.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(bytes.max(MIB))
    }

    /// Scales the default limit of an answer to this memory.
    #[must_use]
    pub fn limit(self, default: Limit) -> Limit {
        let share = |limit: usize| limit.saturating_mul(self.0 / MIB) / (DEFAULT_MEMORY / MIB);
        Limit { bytes: share(default.bytes), decoded: share(default.decoded), ..default }
    }
}

/// The error of a message that exceeds its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    limit: Limit,
    /// The length of the message, if that exceeds the limit.
    bytes: Option<usize>,
}

impl TooLarge {
    /// Returns whether the limit depends on the configured [`Memory`].
    #[must_use]
    pub fn is_configurable(&self) -> bool {
        self.limit != Limit::SMALL
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => {
                write!(f, "the answer has {bytes} bytes, more than the limit of {}", self.limit.bytes)
            }
            None => write!(
                f,
                "the answer has so many entries that it would take more than {} bytes of memory",
                self.limit.decoded
            ),
        }
    }
}

impl Error for TooLarge {}

/// Lets one large message of a connection be read at a time.
pub(crate) type Room = Arc<Semaphore>;

/// Keeps other large messages from being read until all its clones are dropped: as long as anything of this
/// message is in use.
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

/// A body whose messages are limited.
pub struct Limited<B> {
    body: B,
    limit: Limit,
    room: Room,
    hold: Hold,
    prefix: Vec<u8>,
    /// The message that is being read, and how many of its bytes are still missing.
    message: Option<(Weight, usize)>,
    /// What arrived and waits for room.
    waiting: Option<(Bytes, Acquiring)>,
}

impl<B> Limited<B> {
    pub(crate) fn new(body: B, limit: Limit, room: Room, hold: Hold) -> Self {
        Self { body, limit, room, hold, prefix: Vec::with_capacity(PREFIX), message: None, waiting: None }
    }

    /// Examines the next piece; returns whether it shows that a message is large and needs room.
    fn read(&mut self, mut piece: &[u8]) -> Result<bool, TooLarge> {
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
                            return Err(TooLarge { limit: self.limit, bytes: Some(bytes) });
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
                        return Err(TooLarge { limit: self.limit, bytes: None });
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
    async fn messages_within_the_limit_pass_unchanged() {
        let empty = message(&[]);
        let several =
            [message(&[0x0a, 0].repeat(10)), empty.clone(), message(&[0x0a, 0].repeat(10))].concat();
        for body in [Bytes::new(), empty, message(b"hello"), several.into(), message(&[7; 1_000_000])] {
            let passed = limited(body.clone(), &room()).collect().await.unwrap().to_bytes();
            assert_eq!(passed, body);
        }
    }

    #[tokio::test]
    async fn messages_beyond_the_limit_are_errors() {
        for (body, expected) in [
            (message(&[7; 1_000_001]), "the answer has 1000001 bytes, more than the limit of 1000000"),
            // It fails before the rest arrives.
            (message(&[7; 1_000_001]).slice(..5), "the answer has 1000001 bytes"),
            (
                message(&[0x0a, 0].repeat(11)),
                "the answer has so many entries that it would take more than 10000",
            ),
        ] {
            let error = limited(body, &room()).collect().await.unwrap_err();
            assert!(error.is::<TooLarge>() && error.to_string().starts_with(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn large_messages_wait_for_each_other_and_small_ones_do_not() {
        let (room, large) = (room(), message(&[7; SIDE_BY_SIDE + 1]));
        let mut first = limited(large.clone(), &room);
        let hold = first.hold.clone();
        assert!(first.frame().await.unwrap().is_ok());
        let mut second = limited(large, &room);
        let mut frame = Box::pin(second.frame());
        assert!(futures_util::poll!(&mut frame).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut frame).is_pending(), "the first one is still in use");
        assert!(limited(message(&[7; SIDE_BY_SIDE]), &room).collect().await.is_ok());
        drop(hold);
        assert!(frame.await.unwrap().is_ok());
    }

    #[test]
    fn limits_scale_with_the_memory() {
        let half = Memory::new(DEFAULT_MEMORY / 2).limit(LIMIT);
        assert_eq!((half.bytes, half.decoded), (500_000, 5_000));
        assert_eq!(Memory::default().limit(LIMIT), LIMIT);
        assert_eq!(Memory::new(0).limit(LIMIT).bytes, 7_812, "1 MiB");
        assert!(Memory::new(usize::MAX).limit(LIMIT).bytes > 1_000_000);
    }
}
