//! Where an engine is and how to reach it: endpoints, Docker's environment variables, TLS.

pub(crate) mod endpoint;
pub(crate) mod environment;
#[cfg_attr(not(feature = "tls"), path = "tls_absent.rs")]
pub(crate) mod tls;
