//! Which container a process or a control group of a Linux host belongs to.
//!
//! [`owner_of`] finds the container of any process: the initial one, its descendants, and what was started in
//! it by an exec. [`CgroupIds`] finds the container of a control group's ID, as eBPF programs report it.
//!
//! [`age_of`] finds out for how long a container has run whose engine does not report that.
//!
//! [`process`] shows the processes themselves: their sockets, namespaces and PIDs.
//!
//! [`owner_of`] and [`CgroupIds`] compare the control groups of the host, from `/proc` and `/sys/fs/cgroup`,
//! with a [`Portfolio`](whalewatcher_core::Portfolio). They send no request to an engine. The crate is empty
//! on other systems than Linux.
//!
//! # Conditions
//!
//! - The engine and the mounted `/proc` have the same PID namespace: a program in a container needs
//!   `--pid=host`. No process of an engine in a virtual machine or on another host is found.
//! - Each container has its own control group, with a name that contains the ID. Docker, containerd with
//!   nerdctl, podman, CRI-O and kubelets name groups so, with the cgroupfs and the systemd driver and in both
//!   versions of control groups. No process of a container without a group, as with podman's
//!   `--cgroups=disabled`, is found.
#![cfg(target_os = "linux")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod age;
mod cgroup;
mod cgroup_ids;
mod owner;
pub mod process;
mod sockets;

pub use age::age_of;
pub use cgroup_ids::CgroupIds;
pub use owner::{Owner, owner_in, owner_of, owner_of_pidfd};
pub use sockets::ListeningSocket;
