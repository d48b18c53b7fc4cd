//! One picture of the live containers of many hosts, through etcd.
//!
//! - [`publish`]: the agent, which publishes what is alive on a host.
//! - [`records`]: the keys and values in etcd, which `docs/fleet.md` describes.
//! - [`client`]: the client of etcd that they are written and read with.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
pub mod publish;
pub mod records;
mod url;

pub use url::{ClusterUrl, DEFAULT_PREFIX};
pub use whalewatcher_core::*;
