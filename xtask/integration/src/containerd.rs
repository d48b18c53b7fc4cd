//! containerd: what drives it, what it says is alive, and the scenarios on it.

mod check;
mod churn;
mod scenarios;
mod stage;
mod truth;

pub(crate) use scenarios::SCENARIOS;
pub(crate) use stage::Stage;
