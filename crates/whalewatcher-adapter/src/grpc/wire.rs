//! The bytes of a connection, of which the first show whether HTTP/2 is spoken at the other end.
//!
//! Somebody else's words would reach whoever waits for an answer as no more than that the connection is closed. And some
//! hang up after them before they have read what they were asked, so that asking fails before they are heard.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long the head of an HTTP/2 frame is.
const HEAD: usize = 9;

/// What was heard first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting(Arc<OnceLock<Heard>>);

/// What came first from the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// That HTTP/2 is spoken there.
    Http2,
    /// These words.
    Foreign(String),
    /// The other end hung up at once.
    Nothing,
}

impl Greeting {
    /// What it was; `None` if nothing has come yet.
    pub(crate) fn heard(&self) -> Option<&Heard> {
        self.0.get()
    }
}

/// A connection that listens to the greeting.
pub(crate) struct Wire<S> {
    stream: S,
    /// The first bytes, up to the head of a frame.
    first: Vec<u8>,
    greeting: Greeting,
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S) -> (Self, Greeting) {
        let greeting = Greeting::default();
        (Self { stream, first: Vec::new(), greeting: greeting.clone() }, greeting)
    }

    /// Takes in what was read; nothing is the end.
    fn hear(&mut self, read: &[u8]) -> io::Result<()> {
        self.first.extend_from_slice(read);
        let heard = match self.first.first_chunk::<HEAD>() {
            // The first frame has to be one of settings, which belong to no stream.
            Some([_, _, _, 4, _, 0, 0, 0, 0]) => Heard::Http2,
            None if !read.is_empty() => return Ok(()),
            None if self.first.is_empty() => Heard::Nothing,
            _ => Heard::Foreign(String::from_utf8_lossy(&self.first).into_owned()),
        };
        let is_foreign = matches!(heard, Heard::Foreign(_));
        // Set once only: nobody looks any more then.
        let _ = self.greeting.0.set(heard);
        self.first = Vec::new();
        if is_foreign {
            Err(io::Error::new(io::ErrorKind::InvalidData, "that is not HTTP/2"))
        } else {
            Ok(())
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_pending() || self.greeting.heard().is_some() {
            return polled;
        }
        let read = buffer.filled()[before..].to_vec();
        self.hear(&read)?;
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, buffer) {
            // Who hung up may have said something before: reading finds out, or fails as well.
            Poll::Ready(Err(_)) if self.greeting.heard().is_none() => Poll::Ready(Ok(buffer.len())),
            polled => polled,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What is heard when these come one after the other, and then the end.
    async fn heard(pieces: &[&[u8]]) -> (Heard, usize) {
        let (mut far, near) = duplex(1024);
        let (mut wire, greeting) = Wire::new(near);
        let mut read = Vec::new();
        for piece in pieces {
            far.write_all(piece).await.unwrap();
            let mut buffer = [0; 64];
            let Ok(count) = wire.read(&mut buffer).await else { break };
            read.extend_from_slice(&buffer[..count]);
        }
        drop(far);
        let _ = wire.read_to_end(&mut read).await;
        (greeting.heard().unwrap().clone(), read.len())
    }

    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn settings_come_first_in_however_many_pieces() {
        assert_eq!(heard(&[SETTINGS]).await, (Heard::Http2, 9));
        assert_eq!(
            heard(&[&SETTINGS[..1], &SETTINGS[1..5], &SETTINGS[5..], b"more"]).await,
            (Heard::Http2, 13)
        );
    }

    #[tokio::test]
    async fn all_else_is_foreign_and_not_passed_on_once_that_is_clear() {
        let http1 = b"HTTP/1.1 400 Bad Request\r\n";
        let (heard_first, read) = heard(&[http1, http1]).await;
        assert_eq!((heard_first, read), (Heard::Foreign("HTTP/1.1 400 Bad Request\r\n".into()), 0));
        assert_eq!(heard(&[b"no\n"]).await.0, Heard::Foreign("no\n".into()));
        assert_eq!(
            heard(&[&[0, 0, 0, 4, 0, 0, 0, 0, 1]]).await.0,
            Heard::Foreign("\0\0\0\u{4}\0\0\0\0\u{1}".into())
        );
        assert_eq!(heard(&[]).await, (Heard::Nothing, 0));
    }

    #[tokio::test]
    async fn words_are_heard_even_from_one_who_hung_up() {
        let (mut far, near) = duplex(1024);
        far.write_all(b"go away, please").await.unwrap();
        drop(far);
        let (mut wire, greeting) = Wire::new(near);
        wire.write_all(b"PRI * HTTP/2.0").await.unwrap();
        assert!(wire.read(&mut [0; 64]).await.is_err());
        assert_eq!(greeting.heard(), Some(&Heard::Foreign("go away, please".into())));
        assert!(wire.write_all(b"anybody?").await.is_err(), "from then on it is an error");
    }
}
