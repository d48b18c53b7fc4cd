//! The scenarios on etcd.

mod alone;
mod client;
mod hub;

use super::EtcdGround;
use crate::scenario::{Scenario, scenarios};

/// Grouped by what they are about.
pub(super) const SCENARIOS: &[Scenario<EtcdGround>] = scenarios![
    alone::two_of_three_members_go_on,
    alone::a_restored_snapshot_goes_back_in_revision,
    client::a_client_reads_pages_watches_from_the_past_and_learns_of_compaction,
    client::a_user_may_do_what_its_role_allows_and_is_refused_the_rest,
    client::a_client_goes_to_another_member_when_its_own_does_not_answer,
    hub::the_picture_of_many_hosts_is_right_after_members_fail,
    hub::a_hub_that_was_cut_off_beyond_a_compaction_reports_exactly_the_difference,
    hub::a_thousand_lost_claims_end_no_life,
];
