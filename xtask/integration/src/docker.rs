//! Docker: its fixture, what it says is alive, and the scenarios on it.

pub(crate) mod check;
mod chronicle;
pub(crate) mod churn;
pub(crate) mod fixture;
pub(crate) mod scenarios;
pub(crate) mod soak;
mod trial;
pub(crate) mod truth;

pub(crate) use fixture::DockerFixture;
