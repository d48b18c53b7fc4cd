//! Where an engine is and how to reach it: endpoints, Docker's environment variables and contexts, TLS.

pub(crate) mod context;
pub(crate) mod endpoint;
pub(crate) mod environment;
pub(crate) mod ssh_target;
#[cfg_attr(not(feature = "tls"), path = "tls_absent.rs")]
pub(crate) mod tls;
