//! All scenarios on containerd, by what they are about.

mod beside;
mod churn;
mod faults;
mod lifecycle;
mod likeness;
mod many;
mod outage;
mod sync;

use super::fixture::ContainerdFixture;
use crate::scenario::{Scenario, scenarios};

pub(crate) const SCENARIOS: &[Scenario<ContainerdFixture>] = scenarios![
    sync::nerdctl_containers_in_three_namespaces_are_there_at_the_start,
    sync::watchers_that_join_during_churn_miss_nothing,
    lifecycle::each_transition_is_reported_once,
    lifecycle::containers_of_ctr_are_reported,
    lifecycle::exits_have_their_codes,
    lifecycle::execs_change_nothing_during_churn,
    lifecycle::an_oom_kill_marks_the_exit,
    lifecycle::a_reused_id_is_exited_and_started,
    lifecycle::one_id_in_two_namespaces_is_two_containers,
    lifecycle::a_task_without_its_container_counts_as_exited,
    many::many_short_lived_tasks_are_reported_and_leave_nothing,
    many::many_large_containers_are_listed_completely,
    outage::killed_containerd_yields_the_difference,
    outage::exits_during_an_outage_have_their_codes,
    outage::containerd_killed_repeatedly_during_churn,
    churn::random_churn_with_three_subscribers,
    faults::random_faults_cause_no_false_event,
    likeness::the_test_kit_answers_like_this_engine,
    likeness::the_test_kit_reports_a_life_like_this_engine,
    beside::containers_of_a_dockerd_on_the_same_containerd_are_ignored,
];
