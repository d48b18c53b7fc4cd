//! Detects from the first bytes of a connection whether the server speaks HTTP/2.
//!
//! Without this, a caller would learn of another protocol only that the connection is closed. Some servers
//! close it before they have read the request, so that writing fails before their first bytes are read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The length of the head of an HTTP/2 frame.
const HEAD: usize = 9;

/// The greeting of a connection, once it has arrived, and why reading failed. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GreetingSlot {
    greeting: Arc<OnceLock<Greeting>>,
    failure: Arc<OnceLock<io::Error>>,
}

/// What a server sent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The settings of HTTP/2.
    Http2,
    /// Something else, with this text.
    Foreign(String),
    /// Nothing: it closed the connection.
    Closed,
}

impl GreetingSlot {
    /// Returns the greeting; `None` if nothing has arrived yet.
    pub(crate) fn get(&self) -> Option<&Greeting> {
        self.greeting.get()
    }

    /// Returns why reading failed, if it did. The errors of HTTP/2 have only its text.
    pub(crate) fn failure(&self) -> Option<&io::Error> {
        self.failure.get()
    }
}

/// A stream that examines the server's first bytes.
pub(crate) struct GreetedStream<S> {
    stream: S,
    /// The first bytes, up to the length of a frame's head.
    first: Vec<u8>,
    greeting: GreetingSlot,
}

impl<S> GreetedStream<S> {
    pub(crate) fn new(stream: S) -> (Self, GreetingSlot) {
        let greeting = GreetingSlot::default();
        (Self { stream, first: Vec::new(), greeting: greeting.clone() }, greeting)
    }

    /// Examines what was read; an empty slice is the end of the stream.
    fn examine(&mut self, read: &[u8]) -> io::Result<()> {
        self.first.extend_from_slice(read);
        let greeting = match self.first.first_chunk::<HEAD>() {
            // The first frame must be one of settings on stream 0.
            Some([_, _, _, 4, _, 0, 0, 0, 0]) => Greeting::Http2,
            None if !read.is_empty() => return Ok(()),
            None if self.first.is_empty() => Greeting::Closed,
            _ => Greeting::Foreign(String::from_utf8_lossy(&self.first).into_owned()),
        };
        let is_foreign = matches!(greeting, Greeting::Foreign(_));
        // Set only once: nothing is examined afterwards.
        let _ = self.greeting.greeting.set(greeting);
        self.first = Vec::new();
        if is_foreign {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the server does not speak HTTP/2"))
        } else {
            Ok(())
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GreetedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = polled {
            let copy = io::Error::new(error.kind(), error.to_string());
            // The first one is the reason.
            let _ = self.greeting.failure.set(error);
            return Poll::Ready(Err(copy));
        }
        if polled.is_pending() || self.greeting.get().is_some() {
            return polled;
        }
        let read = buffer.filled()[before..].to_vec();
        self.examine(&read)?;
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GreetedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, buffer) {
            // The server may have sent something before it closed the connection: reading returns that, or
            // fails as well.
            Poll::Ready(Err(_)) if self.greeting.get().is_none() => Poll::Ready(Ok(buffer.len())),
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

    /// Returns the greeting, and how many bytes were passed on, when these pieces arrive and then the end.
    async fn greeting(pieces: &[&[u8]]) -> (Greeting, usize) {
        let (mut far, near) = duplex(1024);
        let (mut wire, greeting) = GreetedStream::new(near);
        let mut read = Vec::new();
        for piece in pieces {
            far.write_all(piece).await.unwrap();
            let mut buffer = [0; 64];
            let Ok(count) = wire.read(&mut buffer).await else { break };
            read.extend_from_slice(&buffer[..count]);
        }
        drop(far);
        let _ = wire.read_to_end(&mut read).await;
        (greeting.get().unwrap().clone(), read.len())
    }

    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn settings_may_arrive_in_pieces() {
        assert_eq!(greeting(&[SETTINGS]).await, (Greeting::Http2, 9));
        assert_eq!(
            greeting(&[&SETTINGS[..1], &SETTINGS[1..5], &SETTINGS[5..], b"more"]).await,
            (Greeting::Http2, 13)
        );
    }

    #[tokio::test]
    async fn other_protocols_are_foreign_and_not_passed_on() {
        let http1 = b"HTTP/1.1 400 Bad Request\r\n";
        let (first, read) = greeting(&[http1, http1]).await;
        assert_eq!((first, read), (Greeting::Foreign("HTTP/1.1 400 Bad Request\r\n".into()), 0));
        assert_eq!(greeting(&[b"no\n"]).await.0, Greeting::Foreign("no\n".into()));
        assert_eq!(
            greeting(&[&[0, 0, 0, 4, 0, 0, 0, 0, 1]]).await.0,
            Greeting::Foreign("\0\0\0\u{4}\0\0\0\0\u{1}".into())
        );
        assert_eq!(greeting(&[]).await, (Greeting::Closed, 0));
    }

    #[tokio::test]
    async fn what_a_server_sent_before_it_closed_is_read() {
        let (mut far, near) = duplex(1024);
        far.write_all(b"go away, please").await.unwrap();
        drop(far);
        let (mut wire, greeting) = GreetedStream::new(near);
        wire.write_all(b"PRI * HTTP/2.0").await.unwrap();
        assert!(wire.read(&mut [0; 64]).await.is_err());
        assert_eq!(greeting.get(), Some(&Greeting::Foreign("go away, please".into())));
        assert!(wire.write_all(b"more").await.is_err(), "later writes fail");
    }
}
