//! The scenarios on etcd.

mod agent;
mod alone;
mod client;
mod hub;
mod processes;

use super::EtcdGround;
use crate::scenario::{Scenario, scenarios};

/// Grouped by what they are about.
pub(super) const SCENARIOS: &[Scenario<EtcdGround>] = scenarios![
    alone::two_of_three_members_go_on,
    alone::a_restored_snapshot_goes_back_in_revision,
    client::a_client_reads_pages_watches_from_the_past_and_learns_of_compaction,
    client::a_user_may_do_what_its_role_allows_and_is_refused_the_rest,
    client::a_client_goes_to_another_member_when_its_own_does_not_answer,
    agent::what_agents_publish_is_what_a_hub_shows,
    agent::a_second_agent_for_a_host_ends_and_names_the_first,
    agent::a_full_database_loses_nothing,
    agent::users_and_certificates_that_are_refused_are_reported,
    hub::the_picture_of_many_hosts_is_right_after_members_fail,
    hub::a_hub_that_was_cut_off_beyond_a_compaction_reports_exactly_the_difference,
    hub::a_thousand_lost_claims_end_no_life,
    processes::agents_and_consumers_that_are_killed_and_stopped_show_what_the_engines_run,
];
