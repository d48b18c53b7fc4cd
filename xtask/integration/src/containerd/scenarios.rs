//! All scenarios on containerd, by what they are about.

mod beside;
mod lifecycle;
mod likeness;
mod many;
mod outage;
mod sync;

use super::fixture::ContainerdFixture;
use crate::company;
use crate::faulty;
use crate::scenario::{Scenario, scenarios};
use crate::scenarios as shared;

pub(super) const SCENARIOS: &[Scenario<ContainerdFixture>] = scenarios![
    sync::nerdctl_containers_in_three_namespaces_are_there_at_the_start,
    shared::churn::watchers_that_join_during_churn_miss_nothing,
    lifecycle::each_transition_is_reported_once,
    lifecycle::containers_of_ctr_are_reported,
    shared::lifecycle::exits_have_their_codes,
    shared::lifecycle::execs_change_nothing_during_churn,
    lifecycle::an_oom_kill_marks_the_exit,
    lifecycle::a_reused_id_is_exited_and_started,
    lifecycle::a_task_without_its_container_counts_as_exited,
    many::many_short_lived_tasks_are_reported_and_leave_nothing,
    many::many_large_containers_are_listed_completely,
    shared::outage::killed_engine_yields_the_difference,
    outage::exits_during_an_outage_have_their_codes,
    shared::witness::ends_are_known_while_the_engine_hangs_and_are_not_reported_again,
    shared::witness::ends_are_known_while_the_engine_is_away_and_are_not_reported_again,
    shared::churn::engine_killed_repeatedly_during_churn,
    shared::churn::random_churn_with_three_subscribers,
    faulty::random_faults_cause_no_false_event,
    likeness::the_test_kit_answers_like_this_engine,
    likeness::the_test_kit_reports_a_life_like_this_engine,
    beside::containers_of_a_dockerd_on_the_same_containerd_are_ignored,
    company::engines_of_all_kinds_come_and_go_and_the_picture_is_what_they_say,
];
