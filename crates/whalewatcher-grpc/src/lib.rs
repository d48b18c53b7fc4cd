//! What whalewatcher's adapters to container engines that speak gRPC on a unix socket share. Applications depend on an
//! adapter, such as `whalewatcher-containerd`, not on this.
//!
//! - [`Endpoint`]: where the engine is, as people write it;
//! - [`Transport`]: one HTTP/2 connection that ends when it is dropped and never connects again by itself, and its
//!   [`Channel`] for generated clients, which keeps each message of an answer within a [`Limit`], a share of [`Memory`];
//! - [`Engine`]: what errors call the engine, and those errors, in words that say what to do;
//! - [`Engine::pid_of`]: the engine's own PID, where only the kernel can tell it;
//! - [`Lives`]: what a client saw alive, from one connection to the next.
//!
//! ```no_run
//! use whalewatcher_grpc::{Endpoint, Engine, Transport};
//!
//! const ENGINE: Engine = Engine {
//!     name: "containerd",
//!     kind: "containerd",
//!     hint: "",
//!     default_endpoint: "unix:///run/containerd/containerd.sock",
//!     processes: &["containerd"],
//! };
//!
//! # async fn example() -> Result<(), whalewatcher_core::EngineError> {
//! let endpoint = Endpoint::parse(&ENGINE, "/run/containerd/containerd.sock")?;
//! let transport = Transport::connect(&endpoint).await?;
//! let pid = ENGINE.pid_of(transport.peer());
//! // let client = VersionClient::with_origin(transport.channel(), whalewatcher_grpc::origin());
//! # let _ = pid;
//! # Ok(()) }
//! ```

mod body;
mod endpoint;
mod engine;
mod failure;
mod lives;
mod peer;
mod socket;
mod transport;
mod weight;
mod wire;

pub use body::{Excess, Hold, Limit, Limited, Memory};
pub use endpoint::Endpoint;
pub use engine::Engine;
pub use failure::{Excerpt, malformed};
pub use lives::Lives;
pub use transport::{Channel, Transport, origin};
pub use weight::Fields;
pub use wire::Heard;
