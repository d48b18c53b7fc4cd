//! All scenarios, by what they are about.

mod behind;
mod churn;
pub(crate) mod dropping;
mod faults;
mod hurry;
mod lifecycle;
pub(crate) mod outage;
pub(crate) mod silence;
mod subscribers;
mod sync;

use crate::stage::Stage;
use crate::theatre::{Scenario, scenarios};

pub(crate) const SCENARIOS: &[Scenario<Stage>] = scenarios![
    sync::thirty_containers_are_there_at_the_start,
    sync::whoever_comes_amid_a_churn_misses_nothing,
    hurry::a_fast_changing_container_is_shown_and_ready_comes,
    lifecycle::each_transition_is_reported_once,
    lifecycle::hurried_transitions_end_in_the_right_picture,
    lifecycle::what_ends_at_once_is_started_and_exited,
    lifecycle::exit_codes_are_passed_on,
    lifecycle::a_hundred_lives_in_fifty_starts_at_a_time_cost_at_most_an_inspection_each,
    lifecycle::an_exec_changes_nothing,
    lifecycle::a_health_check_changes_nothing,
    lifecycle::a_privileged_container_is_labelled,
    lifecycle::a_restart_loop_collapses,
    outage::of_a_killed_engine_that_left_its_containers_alive_the_difference_is_reported,
    outage::of_a_killed_engine_that_ends_its_containers_the_difference_is_reported,
    outage::an_engine_is_killed_again_and_again_while_containers_come_and_go,
    outage::an_orderly_restart_with_a_new_socket_file_reports_nothing_of_survivors,
    outage::a_socket_file_that_is_removed_and_made_anew_is_found_again,
    silence::an_engine_that_stops_answering_is_noticed_and_then_the_difference_is_reported,
    silence::an_event_stream_that_goes_silent_is_noticed_while_requests_work,
    silence::an_engine_with_nothing_to_say_is_not_taken_for_a_dead_one,
    subscribers::one_that_never_reads_hurts_nobody_and_gets_the_difference,
    dropping::a_watch_dropped_at_any_of_its_steps_leaves_nothing,
    dropping::a_watch_dropped_at_random_moments_under_churn_leaves_nothing,
    churn::random_churn_of_twelve_containers_by_four_with_three_subscribers,
    faults::whatever_goes_wrong_on_the_way_nothing_wrong_is_reported_and_the_picture_is_right_after,
    churn::audits_of_a_busy_engine_get_nothing_wrong,
    behind::behind_real_proxies_the_picture_comes_and_is_right,
];
