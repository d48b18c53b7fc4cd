//! Tests of the real program against the test kit's engines.

#![allow(clippy::unwrap_used, reason = "tests panic when they cannot go on, and so do their helpers")]

#[cfg(feature = "serve")]
mod browser;
mod completions;
mod containerd;
mod crash_loop;
mod cri;
mod demo;
mod discovery;
#[cfg(feature = "serve")]
mod docker_socket;
mod engines;
mod errors;
mod exec;
mod exit;
mod fleet;
mod help;
#[cfg(feature = "serve")]
mod http;
mod journal;
mod json;
mod log;
#[cfg(feature = "serve")]
mod metrics;
#[cfg(feature = "serve")]
mod page;
mod podman;
mod pods;
mod preferences;
mod program;
mod publish;
mod remote;
mod selection;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod serve_clients;
#[cfg(feature = "serve")]
mod serve_systemd;
#[cfg(feature = "serve")]
mod serve_tcp;
mod shape;
mod slow_reader;
mod text;
#[cfg(feature = "top")]
mod top;
mod wait;
mod watch;
#[cfg(target_os = "linux")]
mod whose;
