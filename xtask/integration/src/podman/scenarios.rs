//! All scenarios on podman, by what they are about. They are fewer than Docker's: those in which podman has ways of its own.

mod lifecycle;
mod outage;

use super::Stage;
use crate::theatre::{Scenario, scenarios};

pub(crate) const SCENARIOS: &[Scenario<Stage>] = scenarios![
    lifecycle::what_is_alive_is_there_at_the_start,
    lifecycle::each_transition_is_reported_once,
    lifecycle::what_ends_at_once_is_started_and_exited,
    lifecycle::an_exec_changes_nothing,
    lifecycle::whoever_comes_amid_a_churn_misses_nothing,
    outage::of_a_killed_podman_the_difference_is_reported,
    outage::podman_is_killed_again_and_again_while_containers_come_and_go,
];
