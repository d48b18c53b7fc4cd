//! Replaces TLS in a build without the feature `tls`: requiring it is an error.

use std::io;
use std::path::Path;

use tokio::net::TcpStream;
use whalewatcher_core::{EngineError, ErrorKind};

/// Has no value.
#[derive(Clone, Debug)]
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn from_folder(_: impl AsRef<Path>) -> Result<Self, EngineError> {
        Err(absent("DOCKER_TLS_VERIFY or DOCKER_CERT_PATH requires TLS"))
    }

    pub(crate) fn from_system() -> Result<Self, EngineError> {
        Err(absent("https:// is TLS"))
    }

    pub(crate) async fn secure(&self, _: TcpStream, _: &str) -> io::Result<TcpStream> {
        match *self {}
    }
}

fn absent(why: &str) -> EngineError {
    let message = format!("{why}, which needs the feature `tls` of whalewatcher-moby: build with it");
    EngineError::new(ErrorKind::Configuration, message)
}
