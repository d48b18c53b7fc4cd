//! One picture of the live containers of many hosts, through etcd.
//!
//! - [`publish`]: the agent, which publishes what is alive on a host.
//! - [`records`]: the keys and values in etcd, which `docs/fleet.md` describes.
//! - [`Hub`]: follows what all hosts publish, and has their engines join and leave a fleet.
//! - [`client`]: the client of etcd that they are written and read with.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
mod hub;
mod mirror;
pub mod publish;
pub mod records;
mod url;

pub use hub::{HostEngine, HostStatus, Hub, HubSettings, HubStatus, RemoteConnection, RemoteEngine, forget};
pub use url::{ClusterUrl, DEFAULT_PREFIX};
pub use whalewatcher_core::*;
