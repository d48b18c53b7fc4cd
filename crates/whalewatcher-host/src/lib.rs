//! What a Linux host knows of containers: which of them a process or a control group belongs to.
//!
//! [`owner_of`] finds the container of any process: the initial one, its descendants, and what was started in it by an exec.
//! [`CgroupIds`] finds the container of a control group's ID, as eBPF programs report it.
//!
//! Both look at the control groups of the host, read from `/proc` and `/sys/fs/cgroup`, and at a
//! [`Portfolio`](whalewatcher_core::Portfolio): no engine is asked. The crate is empty on other systems than Linux.
//!
//! # Conditions
//!
//! - The portfolio's engine runs in the PID namespace of the mounted `/proc`. In a container that takes `--pid=host`. Of an engine in a
//!   virtual machine or on another host no process is found.
//! - A container has a control group of its own that is named by its ID, which is so with Docker, containerd, nerdctl, podman, CRI-O and
//!   kubelets, with the cgroupfs and the systemd driver, and with both versions of control groups. A container without (podman's
//!   `--cgroups=disabled`) owns no process.
#![cfg(target_os = "linux")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cgroup;
mod cgroup_ids;
mod owner;
mod process;

pub use cgroup_ids::CgroupIds;
pub use owner::{Owner, owner_of, owner_of_pidfd};
