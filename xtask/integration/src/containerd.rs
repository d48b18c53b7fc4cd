//! containerd: what drives it, what it says is alive, and the scenarios on it.

mod churn;
mod fixture;
mod scenarios;
pub(crate) mod truth;

pub(crate) use fixture::ContainerdFixture;
