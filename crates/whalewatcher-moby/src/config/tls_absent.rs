//! Replaces TLS in a build without the feature `tls`: requiring it is an error.

use std::error::Error;
use std::io;

use tokio::net::TcpStream;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::config::context::Context;
use crate::config::endpoint::Endpoint;

/// Has no value.
#[derive(Clone, Debug)]
pub(crate) enum Tls {}

pub(crate) fn of_context(context: &Context) -> Result<Tls, EngineError> {
    let why =
        if context.wants_tls() { "the context or the environment requires TLS" } else { "https:// is TLS" };
    let message = format!("{why}, which needs the feature `tls` of whalewatcher-moby: build with it");
    Err(EngineError::new(ErrorKind::Configuration, message))
}

pub(crate) fn explain(tls: &Tls, _: &Endpoint, _: &(dyn Error + 'static)) -> Option<EngineError> {
    match *tls {}
}

impl Tls {
    pub(crate) fn renewed(&self) -> Result<Self, EngineError> {
        match *self {}
    }

    pub(crate) async fn secure(&self, _: TcpStream, _: &str) -> io::Result<TcpStream> {
        match *self {}
    }
}
