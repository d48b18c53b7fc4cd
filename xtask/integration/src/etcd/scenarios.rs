//! The scenarios on etcd.

mod alone;
mod client;

use super::EtcdGround;
use crate::scenario::{Scenario, scenarios};

/// Grouped by what they are about.
pub(super) const SCENARIOS: &[Scenario<EtcdGround>] = scenarios![
    alone::two_of_three_members_go_on,
    alone::a_restored_snapshot_goes_back_in_revision,
    client::a_client_reads_pages_watches_from_the_past_and_learns_of_compaction,
    client::a_user_may_do_what_its_role_allows_and_is_refused_the_rest,
    client::a_client_goes_to_another_member_when_its_own_does_not_answer,
];
