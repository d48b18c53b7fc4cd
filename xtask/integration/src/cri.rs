//! containerd with its CRI plugin: what drives it as a kubelet would, what it says is alive, and the scenarios on it.

mod check;
pub(crate) mod churn;
mod fixture;
mod kubelet;
mod scenarios;
mod truth;

pub(crate) use fixture::CriFixture;
