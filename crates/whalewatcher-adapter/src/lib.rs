//! What whalewatcher's adapters to container engines that speak gRPC on a unix socket share. Applications depend on an
//! adapter, such as `whalewatcher-containerd`, not on this.
//!
//! - [`Endpoint`]: where the engine is, as people write it;
//! - [`Transport`](grpc::Transport): one HTTP/2 connection that ends when it is dropped and never connects again by itself, and its
//!   [`Channel`](grpc::Channel) for generated clients, which keeps each message of an answer within a [`Limit`](grpc::Limit), a share of [`Memory`](grpc::Memory);
//! - [`Engine`]: what errors call the engine, and those errors, in words that say what to do;
//! - [`Engine::pid_of`]: the engine's own PID, where only the kernel can tell it;
//! - [`Lives`]: what a client saw alive, from one connection to the next.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connecting;

#[cfg(feature = "containerd")]
pub mod containerd;
mod endpoint;
mod engine;
mod excerpt;
#[cfg(feature = "grpc")]
pub mod grpc;
mod lives;
mod peer;
#[cfg(feature = "grpc")]
mod socket;

pub use endpoint::Endpoint;
pub use engine::Engine;
pub use excerpt::{Excerpt, malformed};
pub use lives::Lives;
