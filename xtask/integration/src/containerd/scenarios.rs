//! All scenarios on containerd, by what they are about.

mod beside;
mod churn;
mod faults;
mod lifecycle;
mod likeness;
mod many;
mod outage;
mod sync;

use super::stage::Stage;
use crate::theatre::{Scenario, scenarios};

pub(crate) const SCENARIOS: &[Scenario<Stage>] = scenarios![
    sync::nerdctls_containers_in_three_namespaces_are_there_at_the_start,
    sync::whoever_comes_while_containers_come_and_go_misses_nothing,
    lifecycle::each_transition_is_reported_once,
    lifecycle::what_ctr_runs_and_ends_is_reported,
    lifecycle::exit_codes_are_passed_on,
    lifecycle::finished_execs_change_nothing_while_containers_come_and_go,
    lifecycle::an_id_that_is_reused_is_exited_and_started,
    lifecycle::one_id_in_two_namespaces_is_two_containers,
    lifecycle::a_task_whose_container_is_deleted_under_it_is_nobodys,
    many::a_hundred_short_lived_tasks_at_once_are_reported_and_leave_nothing,
    many::two_thousand_containers_as_large_as_dockers_hide_nothing,
    outage::of_a_killed_containerd_the_difference_is_reported,
    outage::how_a_life_ended_while_the_watcher_was_cut_off_is_reported,
    outage::containerd_is_killed_again_and_again_while_containers_come_and_go,
    churn::random_churn_in_three_namespaces_by_four_with_three_subscribers,
    faults::whatever_goes_wrong_on_the_way_nothing_wrong_is_reported_and_the_picture_is_right_after,
    likeness::the_test_kits_engine_answers_as_this_one_does,
    likeness::the_test_kits_engine_reports_a_life_as_this_one_does,
    beside::of_a_dockerd_on_the_same_containerd_nothing_shows,
];
