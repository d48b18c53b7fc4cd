//! All scenarios on podman, by what they are about. They are fewer than Docker's: those in which podman has ways of its own.

mod lifecycle;
mod outage;

use super::PodmanFixture;
use crate::scenario::{Scenario, scenarios};

pub(crate) const SCENARIOS: &[Scenario<PodmanFixture>] = scenarios![
    lifecycle::all_containers_are_there_at_the_start,
    lifecycle::each_transition_is_reported_once,
    lifecycle::short_lives_are_started_and_exited,
    lifecycle::an_exec_changes_nothing,
    lifecycle::watchers_that_join_during_churn_miss_nothing,
    outage::killed_podman_yields_the_difference,
    outage::podman_killed_repeatedly_during_churn,
];
