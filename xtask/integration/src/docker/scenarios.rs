//! All scenarios, by what they are about.

mod behind;
mod churn;
mod clients;
pub(crate) mod details;
mod discovery;
mod dropping;
mod faults;
mod hurry;
pub(crate) mod lifecycle;
mod namespaces;
mod nested;
mod outage;
mod processes;
mod prometheus;
mod serving;
mod silence;
mod ssh;
mod sshd;
mod subscribers;
mod sync;

use crate::docker::fixture::DockerFixture;
use crate::scenario::{Scenario, scenarios};
use crate::scenarios as shared;

pub(super) const SCENARIOS: &[Scenario<DockerFixture>] = scenarios![
    sync::thirty_containers_are_there_at_the_start,
    shared::churn::watchers_that_join_during_churn_miss_nothing,
    hurry::containers_that_change_faster_than_inspections_are_shown,
    lifecycle::each_transition_is_reported_once,
    lifecycle::short_lives_are_started_and_exited,
    shared::lifecycle::exits_have_their_codes,
    lifecycle::each_of_many_concurrent_lives_costs_one_inspection,
    lifecycle::an_exec_changes_nothing,
    details::health_is_followed_without_inspections,
    details::networks_are_followed,
    details::an_oom_kill_is_marked,
    details::restarts_by_the_engine_are_counted,
    lifecycle::a_privileged_container_is_labelled,
    lifecycle::a_restart_loop_collapses,
    discovery::dockerd_and_containerd_show_each_container_once_and_a_restarted_dockerd_is_the_same,
    discovery::a_dockerd_that_stays_away_leaves_its_containers_to_containerd_until_it_comes_back,
    nested::a_containerd_in_a_container_is_found_and_its_containers_have_prefix_and_pid_on_the_host,
    processes::processes_belong_to_the_container_of_their_control_group,
    outage::killed_dockerd_with_live_restore_yields_the_difference,
    outage::killed_dockerd_without_live_restore_yields_the_difference,
    outage::a_killed_dockerd_is_found_as_soon_as_it_listens,
    shared::churn::engine_killed_repeatedly_during_churn,
    outage::orderly_restart_announces_no_survivor,
    outage::replaced_socket_file_is_found,
    shared::outage::stopped_engine_is_detected_and_yields_the_difference,
    shared::witness::ends_are_known_while_the_engine_hangs_and_are_not_reported_again,
    shared::witness::ends_are_known_while_the_engine_is_away_and_are_not_reported_again,
    shared::witness::a_false_end_of_a_life_that_goes_on_is_not_reported,
    namespaces::in_another_pid_namespace_no_life_is_watched_and_no_stranger_is_taken_for_one,
    silence::stalled_event_stream_is_detected_while_requests_work,
    silence::idle_engine_is_not_considered_dead,
    subscribers::slow_subscriber_delays_no_other_and_receives_the_difference,
    dropping::watch_dropped_at_any_step_leaves_nothing,
    shared::churn::watches_dropped_at_random_during_churn_leave_nothing,
    shared::churn::random_churn_with_three_subscribers,
    faults::random_faults_cause_no_false_event,
    churn::audits_of_a_busy_engine_cause_no_false_event,
    serving::a_server_answers_as_the_engine_does_and_prometheus_finds_the_same_targets,
    clients::dockers_own_clients_read_what_the_engine_has_and_change_nothing,
    behind::works_behind_nginx_and_haproxy,
    ssh::is_watched_through_ssh,
    ssh::each_failure_of_ssh_is_an_error_of_its_own,
    ssh::two_hundred_containers_are_known_soon_over_slow_connections,
];
