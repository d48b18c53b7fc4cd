//! containerd with its CRI plugin: what drives it as a kubelet would, what it says is alive, and the scenarios on it.

mod check;
mod churn;
mod kubelet;
mod scenarios;
mod stage;
mod truth;

pub(crate) use scenarios::SCENARIOS;
pub(crate) use stage::Stage;

use whalewatcher_cri::Client;
