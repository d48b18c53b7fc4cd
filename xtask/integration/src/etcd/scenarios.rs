//! The scenarios on etcd.

mod alone;

use super::EtcdGround;
use crate::scenario::{Scenario, scenarios};

/// Grouped by what they are about.
pub(super) const SCENARIOS: &[Scenario<EtcdGround>] =
    scenarios![alone::two_of_three_members_go_on, alone::a_restored_snapshot_goes_back_in_revision,];
