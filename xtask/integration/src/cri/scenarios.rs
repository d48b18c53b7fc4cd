//! All scenarios on CRI, by what they are about.

mod engine;
mod kubelet;
mod lifecycle;
mod many;
mod outage;
mod polling;
mod silence;
mod sync;

use super::fixture::CriFixture;
use crate::faulty;
use crate::scenario::{Scenario, scenarios};
use crate::scenarios as shared;

pub(super) const SCENARIOS: &[Scenario<CriFixture>] = scenarios![
    engine::an_instance_stopped_with_running_pods_leaves_nothing,
    sync::pods_with_one_and_three_containers_are_there_at_the_start,
    shared::churn::watchers_that_join_during_churn_miss_nothing,
    lifecycle::a_container_restarted_within_its_pod_is_another_one,
    shared::lifecycle::exits_have_their_codes,
    shared::lifecycle::execs_change_nothing_during_churn,
    lifecycle::an_oom_kill_marks_the_exit,
    lifecycle::stopping_a_pod_exits_its_containers,
    lifecycle::lives_of_a_tenth_of_a_second_are_started_and_exited,
    many::many_pods_are_there_at_the_start_and_come_and_go,
    kubelet::another_client_of_cri_events_receives_all_of_them,
    kubelet::two_clients_of_cri_events_share_them_on_containerd_1_only,
    polling::polling_reports_all_lasting_changes,
    outage::an_outage_yields_the_difference,
    outage::killed_containerd_yields_the_difference,
    shared::witness::ends_are_known_while_the_engine_hangs_and_are_not_reported_again,
    shared::witness::ends_are_known_while_the_engine_is_away_and_are_not_reported_again,
    shared::churn::engine_killed_repeatedly_during_churn,
    shared::outage::stopped_engine_is_detected_and_yields_the_difference,
    silence::idle_containerd_is_not_considered_dead,
    shared::churn::watches_dropped_at_random_during_churn_leave_nothing,
    faulty::random_faults_cause_no_false_event,
];
