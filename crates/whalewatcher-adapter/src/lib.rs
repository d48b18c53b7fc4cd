//! What whalewatcher's adapters to container engines share. Applications depend on an adapter, such as
//! `whalewatcher-containerd`, and not on this crate.
//!
//! - [`Endpoint`]: the unix socket of an engine, parsed and checked.
//! - [`SocketIdentity`]: detects that another engine has bound the same path.
//! - [`SocketMonitor`]: waits until an engine listens at its socket again.
//! - `Folders`: on Linux, waits for changes in the folders that lead to several paths.
//! - [`Engine`]: the names that errors use for an engine, those errors, and [its PID](Engine::pid_of).
//! - [`Lives`]: the lives that a client has seen, kept from one connection to the next.
//! - [`Excerpt`] and [`Chain`]: an engine's text, or an error with its causes, escaped and shortened to one line.
//!
//! # Features
//!
//! - `grpc`: [`grpc::Transport`], one HTTP/2 connection that never reconnects by itself, and its
//!   [`grpc::Channel`] for generated clients, which limits each message of an answer.
//! - `tls`: [`tls::Tls`], certificates that are read again for each attempt to connect, and errors that say what to do;
//!   [`tls::Acceptor`], TLS for clients.
//! - `containerd`: containerd's event service, [`containerd::EventService`].
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
mod monitor;
mod peer;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;

pub use endpoint::{Endpoint, check_socket_path};
pub use engine::Engine;
pub use excerpt::{Chain, Excerpt, find_cause, malformed};
pub use lives::Lives;
#[cfg(target_os = "linux")]
pub use monitor::Folders;
pub use monitor::{Reached, SocketMonitor};
pub use peer::pid_if_named;
pub use socket::{SocketIdentity, connect};
