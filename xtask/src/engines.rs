//! Real engines from Debian's packages, run privately beside whatever the host runs: nothing is installed on the
//! host, and nothing of it is touched. What stays are the empty folders `/run/containerd/s` and `/run/docker/plugins`,
//! whose places containerd's shims and dockerd know by heart, and which the host's own engines may be using.
//!
//! [`Packages`] gets and unpacks them, [`Installation`] finds their programs, [`Docker`], [`Podman`] and [`Containerd`],
//! which runs pods too, run one.

mod cgroups;
pub mod check;
mod containerd;
mod cri;
mod daemon;
mod docker;
mod engine;
mod http;
mod installation;
mod instance;
pub mod leftovers;
mod metrics;
mod mirrors;
mod mounts;
mod owner;
mod packages;
mod podman;
mod processes;
mod test_image;

pub use containerd::Containerd;
pub use cri::PAUSE_IMAGE;
pub use docker::{DaemonFlags, Docker, DockerOptions, DockerVersion};
pub use engine::{Engine, EngineKind, Release};
pub use http::Response;
pub use installation::{GivenPrograms, Installation};
pub use instance::Marker;
pub(crate) use instance::clear_all_of_this_process;
pub use packages::Packages;
pub use podman::Podman;
pub(crate) use processes::Pinned;
pub use test_image::{TEST_COMMAND, TEST_IMAGE, root_file_system};
