//! What the other scenarios rely on: that the private etcd fails in the ways that they need.

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::block_in_place;
use xtask::engines::PrivateEtcd;

use crate::etcd::EtcdGround;

/// "a", in base64.
const KEY: &str = "YQ==";

pub(super) async fn two_of_three_members_go_on(ground: &EtcdGround) -> Result<()> {
    let etcd = ground.start(3)?;
    block_in_place(|| {
        put(&etcd, 0)?;
        etcd.kill(0)?;
        // It may have been the leader.
        etcd.await_health(1)?;
        put(&etcd, 1)?;
        etcd.start_again(0)?;
        ensure!(etcd.revision(0)? == 3, "a member that was started again is behind");
        etcd.stop()
    })
}

pub(super) async fn a_restored_snapshot_goes_back_in_revision(ground: &EtcdGround) -> Result<()> {
    let etcd = ground.start(1)?;
    block_in_place(|| {
        put(&etcd, 0)?;
        let snapshot = etcd.snapshot()?;
        let before = etcd.revision(0)?;
        put(&etcd, 0)?;
        etcd.compact(0)?;
        ensure!(etcd.revision(0)? == before + 1, "a put is one revision");
        etcd.restore(&snapshot)?;
        ensure!(etcd.revision(0)? == before, "what happened since is still there");
        etcd.stop()
    })
}

fn put(etcd: &PrivateEtcd, member: usize) -> Result<()> {
    etcd.call(member, "/v3/kv/put", &json!({ "key": KEY, "value": KEY })).map(drop)
}
