//! podman, which speaks Docker's API: what it says is alive, and the scenarios on it.

mod activation;
mod fixture;
mod rootless;
mod scenarios;

pub(crate) use fixture::PodmanFixture;
