//! What an application sees of an engine: containers, events, pods and errors, as plain values.

mod container;
mod container_id;
mod error;
mod escape;
mod event;
mod identity;
mod labels;
mod life;
mod pod;
#[cfg(feature = "serde")]
mod serde;
mod unresolved;

pub use container::{COMPOSE_PROJECT_LABEL, Container};
pub use container_id::ContainerId;
pub(crate) use error::is_silence;
pub use error::{EngineError, ErrorKind};
pub use escape::Printable;
pub use event::{Event, EventKind};
pub use identity::EngineIdentity;
pub use labels::Labels;
pub use life::Life;
pub use pod::{POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, PodIdentity, SANDBOX_LABEL};
pub use unresolved::{Unresolved, UnresolvedContainer};
