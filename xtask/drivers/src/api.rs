//! containerd's API and the CRI, in a copy of their own: what the scenarios take for the truth shares no code with what
//! they test.
#![allow(missing_docs, rustdoc::invalid_html_tags, reason = "comments are those of the definitions")]
#![allow(unused_qualifications, reason = "generated code says more than it must")]

include!(concat!(env!("OUT_DIR"), "/containerd/mod.rs"));
include!(concat!(env!("OUT_DIR"), "/cri/mod.rs"));
