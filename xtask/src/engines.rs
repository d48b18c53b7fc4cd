//! Real engines from Debian's packages, run privately beside whatever the host runs: nothing is installed on the
//! host, and nothing of it is touched. What stays are the empty folders `/run/containerd/s` and `/run/docker/plugins`,
//! whose places containerd's shims and dockerd know by heart, and which the host's own engines may be using.
//!
//! [`Packages`] gets and unpacks them, [`Installation`] finds their programs, [`PrivateEngine`] runs one.

mod cgroups;
pub mod check;
mod containerd;
mod cri;
mod daemon;
mod docker;
mod engine;
mod etcd;
mod http;
mod installation;
mod instance;
pub mod leftovers;
mod metrics;
mod mirrors;
mod mounts;
mod packages;
mod podman;
mod private;
mod processes;
mod test_image;

pub use cri::{PAUSE_IMAGE, POD_ADDRESSES};
pub use engine::{Engine, EngineKind, Release};
pub use etcd::{EtcdOptions, EtcdTls, PrivateEtcd};
pub use http::Response;
pub use installation::{GivenPrograms, Installation};
pub use instance::Marker;
pub(crate) use instance::clear_all_of_this_process;
pub use packages::Packages;
pub use private::{Options, PrivateEngine};
pub(crate) use processes::{Pinned, kill_children};
pub use test_image::{TEST_COMMAND, TEST_IMAGE, root_file_system};
