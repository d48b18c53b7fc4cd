//! Generated gRPC clients of container engines and of etcd: just the calls that whalewatcher makes, and what
//! these need.
//!
//! The code is checked in, so building it takes no `protoc` and no build script. `cargo xtask generate` writes it from
//! the definitions in `proto`; `NOTICE` and `proto/provenance.json` say where those come from. Comments on types and
//! fields are the definitions' own.
//!
//! Clients come without a transport: create them on a `tonic::transport::Channel`, or on any other service that takes
//! HTTP requests.
//!
//! # Features
//!
//! - `containerd` (default): [`containerd`].
//! - `cri` (default): [`cri`].
//! - `etcd`: [`etcd`].
//! - `server`: the traits that a server implements, for tests.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "containerd")]
pub use generated::containerd;

/// The Kubernetes Container Runtime Interface.
#[cfg(feature = "cri")]
pub mod cri {
    pub use crate::generated::runtime::v1;
}

/// etcd, version 3.
#[cfg(feature = "etcd")]
pub mod etcd {
    pub use crate::generated::{etcdserverpb, mvccpb};
}

#[allow(missing_docs, rustdoc::invalid_html_tags, reason = "comments are those of the definitions")]
#[allow(unreachable_pub, unused_qualifications, reason = "generated code says more than it must")]
mod generated {
    #[cfg(feature = "containerd")]
    include!("generated/containerd/mod.rs");
    #[cfg(feature = "cri")]
    include!("generated/cri/mod.rs");
    #[cfg(feature = "etcd")]
    include!("generated/etcd/mod.rs");
}
