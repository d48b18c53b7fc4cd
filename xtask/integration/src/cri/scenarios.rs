//! All scenarios on CRI, by what they are about.

mod engine;

use super::stage::Stage;
use crate::theatre::{Scenario, scenarios};

pub(crate) const SCENARIOS: &[Scenario<Stage>] = scenarios![
    engine::pods_live_as_a_kubelet_has_them_live,
    engine::an_instance_that_is_stopped_amid_its_pods_leaves_nothing,
];
