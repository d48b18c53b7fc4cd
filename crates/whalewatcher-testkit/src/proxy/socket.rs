//! Unix sockets and TCP.

use std::{fmt, io, path::PathBuf, str::FromStr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// An address to connect to or to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `unix:///run/docker.sock`, or just the path.
    Unix(PathBuf),
    /// `tcp://127.0.0.1:2375`: host and port.
    Tcp(String),
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("unix://").or(text.starts_with('/').then_some(text))
            && path.starts_with('/')
        {
            return Ok(Self::Unix(path.into()));
        }
        match text.strip_prefix("tcp://") {
            Some(address) if address.contains(':') => Ok(Self::Tcp(address.trim_end_matches('/').into())),
            _ => Err(Error::Endpoint(text.into())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// The reason why a proxy cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither `unix:///path`, nor `/path`, nor `tcp://host:port`.
    #[error("'{0}' is no endpoint: expected unix:///path or tcp://host:port")]
    Endpoint(String),
    /// The builder has no upstream.
    #[error("the proxy needs an upstream")]
    NoUpstream,
    /// The proxy must be started from within a tokio runtime with I/O and time enabled.
    #[error("there is no tokio runtime to work on")]
    NoRuntime,
    /// The proxy cannot listen there, for the first time or again.
    #[error("cannot listen at {endpoint}")]
    Listen {
        /// The endpoint.
        endpoint: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// One end of a connection.
#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

pub(super) type Reader<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;
pub(super) type Writer<'a> = Box<dyn AsyncWrite + Send + Unpin + 'a>;

impl Socket {
    pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            Endpoint::Tcp(address) => Self::tcp(TcpStream::connect(address).await?),
        }
    }

    /// Sends each write at once.
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    pub(super) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Self::Unix(stream) => {
                let (reader, writer) = stream.split();
                (Box::new(reader), Box::new(writer))
            }
            Self::Tcp(stream) => {
                let (reader, writer) = stream.split();
                (Box::new(reader), Box::new(writer))
            }
        }
    }

    /// Closes the connection; TCP with a reset.
    pub(super) fn reset(self) {
        if let Self::Tcp(stream) = self {
            // Fails only if the connection is gone already.
            let _ = stream.set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for (text, written) in [
            ("unix:///run/d.sock", "unix:///run/d.sock"),
            ("/run/d.sock", "unix:///run/d.sock"),
            ("tcp://127.0.0.1:80/", "tcp://127.0.0.1:80"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), written);
        }
        for text in ["", "run/d.sock", "unix://d.sock", "tcp://host", "http://host:1"] {
            assert!(matches!(text.parse::<Endpoint>(), Err(Error::Endpoint(_))), "{text}");
        }
    }
}
