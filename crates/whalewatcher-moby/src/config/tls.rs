//! TLS to an engine.

use std::error::Error;

use whalewatcher_adapter::tls::Server;
pub use whalewatcher_adapter::tls::Tls;
use whalewatcher_core::EngineError;

use crate::config::context::Context;
use crate::config::endpoint::Endpoint;

const DOCKER: Server = Server { name: "the engine", tls_option: "--tlsverify", ca_option: "--tlscacert" };

/// Reads the certificates of a context; those of the system if it has none.
pub(crate) fn of_context(context: &Context) -> Result<Tls, EngineError> {
    Tls::of_context(context.certificates(), !context.skips_tls_verification())
}

/// Describes an error that TLS caused, and what to do about it; `None` for any other.
pub(crate) fn explain(tls: &Tls, endpoint: &Endpoint, error: &(dyn Error + 'static)) -> Option<EngineError> {
    tls.explain(&DOCKER, endpoint, error)
}
