//! The data model: containers, events, engine identities and errors. Plain values, nothing asynchronous.

mod container;
mod container_id;
mod crash_loop;
mod engine_key;
mod error;
mod escape;
mod event;
mod health;
mod identity;
mod image;
mod labels;
mod layer;
mod life;
mod network;
mod pod;
#[cfg(feature = "serde")]
mod serde;
mod shared;
mod unresolved;

pub use container::{COMPOSE_PROJECT_LABEL, Container, PRIVILEGED_LABEL};
pub use container_id::ContainerId;
pub use crash_loop::CrashLoop;
pub use engine_key::EngineKey;
pub(crate) use error::is_silence;
pub use error::{EngineError, ErrorKind};
pub use escape::Printable;
pub use event::{Event, EventKind, SeenBy};
pub use health::Health;
pub use identity::{EngineIdentity, Host};
pub use image::Image;
pub use labels::Labels;
pub use layer::Layer;
pub use life::Life;
pub use network::{Network, Port, Protocol, UnknownProtocol};
pub use pod::{POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, PodIdentity, SANDBOX_LABEL};
pub use unresolved::{Unresolved, UnresolvedContainer};
