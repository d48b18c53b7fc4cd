//! All scenarios on CRI, by what they are about.

mod dropping;
mod engine;
mod faults;
mod kubelet;
mod lifecycle;
mod many;
mod outage;
mod polling;
mod silence;
mod sync;

use super::stage::Stage;
use crate::theatre::{Scenario, scenarios};

pub(crate) const SCENARIOS: &[Scenario<Stage>] = scenarios![
    engine::pods_live_as_a_kubelet_has_them_live,
    engine::an_instance_that_is_stopped_amid_its_pods_leaves_nothing,
    sync::pods_with_one_and_three_containers_are_there_at_the_start,
    sync::whoever_comes_while_pods_come_and_go_misses_nothing,
    lifecycle::a_container_that_is_restarted_within_its_pod_is_another_one,
    lifecycle::exit_codes_are_passed_on,
    lifecycle::execs_change_nothing_while_pods_come_and_go,
    lifecycle::a_pod_that_is_stopped_takes_its_containers_along,
    lifecycle::what_ends_within_a_tenth_of_a_second_is_started_and_exited,
    many::a_hundred_pods_are_there_at_the_start_and_come_and_go,
    kubelet::whoever_lives_on_cris_events_gets_all_of_them_while_we_watch,
    kubelet::a_subscriber_of_ours_that_never_reads_holds_nobody_up,
    kubelet::two_who_read_cris_events_rob_each_other_on_containerd_1_only,
    polling::whoever_only_polls_is_reported_of_all_that_lasts,
    outage::of_pods_that_went_while_the_watcher_was_cut_off_the_difference_is_reported,
    outage::of_a_killed_containerd_the_difference_is_reported,
    outage::containerd_is_killed_again_and_again_while_pods_come_and_go,
    silence::a_containerd_that_stops_answering_is_noticed_and_then_the_difference_is_reported,
    silence::a_containerd_with_nothing_to_say_is_not_taken_for_a_dead_one,
    dropping::a_watch_dropped_at_random_moments_under_churn_leaves_nothing,
    faults::whatever_goes_wrong_on_the_way_nothing_wrong_is_reported_and_the_picture_is_right_after,
];
