//! podman, which speaks Docker's API: what it says is alive, and the scenarios on it.

mod scenarios;
mod stage;

pub(crate) use scenarios::SCENARIOS;
pub(crate) use stage::Stage;
