//! One gRPC connection to an engine, the limits of its answers, and its errors.
//!
//! ```no_run
//! use whalewatcher_adapter::grpc::Transport;
//! use whalewatcher_adapter::{Endpoint, Engine};
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
//! // let client = VersionClient::with_origin(transport.channel(), whalewatcher_adapter::grpc::origin());
//! # let _ = pid;
//! # Ok(()) }
//! ```

mod body;
mod greeting;
mod status;
mod transport;
mod weight;

pub use body::{Hold, Limit, Limited, Memory, TooLarge};
pub use greeting::Greeting;
pub use transport::{Channel, Http2, Settings, Transport, origin};
pub use weight::Fields;
