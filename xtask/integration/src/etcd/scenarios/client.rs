//! The client of etcd: what the hub and the agent rely on.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::block_in_place;
use whalewatcher_etcd::client::{Change, Client, Config, ErrorKind, Password, Query, Txn};

use crate::etcd::{EtcdGround, client_of, enable_users, url_of};

pub(super) async fn a_client_reads_pages_watches_from_the_past_and_learns_of_compaction(
    ground: &EtcdGround,
) -> Result<()> {
    let etcd = ground.start(1)?;
    let client = client_of(&etcd)?;
    let txn = (0..5).fold(Txn::new(), |txn, number| txn.put(&format!("/p/{number}"), format!("v{number}")));
    let written = client.txn(&txn.put("/q", "")).await?.header.revision;
    let page = client.range(&Query::prefix("/p/").with_limit(3)).await?;
    ensure!(page.has_more && page.items.len() == 3 && page.header.revision == written, "{page:?}");
    client.txn(&Txn::new().delete("/p/4").put("/p/0", "new")).await?;
    let last = &page.items[2].key;
    let rest = client.range(&Query::prefix("/p/").after(last).at(written)).await?;
    ensure!(!rest.has_more && rest.items.len() == 2 && rest.items[1].value == b"v4", "{rest:?}");

    let mut watch = client.watch("/p/", written + 1).await?;
    let answer = watch.next().await?;
    let [Change::Delete { key, revision }, Change::Put(put)] = answer.changes.as_slice() else {
        bail!("{answer:?}")
    };
    ensure!(key == "/p/4" && *revision == written + 1 && put.value == b"new", "{answer:?}");
    watch.request_progress();
    let progress = watch.next().await?;
    ensure!(progress.changes.is_empty() && progress.header.revision == written + 1, "{progress:?}");

    block_in_place(|| etcd.compact(0))?;
    let mut behind = client.watch("/p/", written).await;
    if let Ok(watch) = &mut behind {
        behind = Err(watch.next().await.err().context("it watches what is compacted")?);
    }
    let error = behind.err().context("it watches what is compacted")?;
    ensure!(error.kind() == ErrorKind::Compacted { revision: written + 1 }, "{error:?}");
    let error = client.range(&Query::prefix("/p/").at(written)).await.err().context("it is compacted")?;
    ensure!(matches!(error.kind(), ErrorKind::Compacted { .. }), "{error:?}");
    let error =
        client.range(&Query::prefix("/p/").at(written + 99)).await.err().context("from the future")?;
    ensure!(error.kind() == ErrorKind::FutureRevision, "{error:?}");

    let many = (0..200).fold(Txn::new(), |txn, number| txn.put(&format!("/p/{number}"), ""));
    let error = client.txn(&many).await.err().context("a transaction of 200 operations")?;
    ensure!(error.kind() == ErrorKind::TooLarge && !error.may_be_done(), "{error:?}");

    let lease = client.grant(Duration::from_secs(2)).await?;
    let claim = Txn::new().if_created_at("/p/claim", 0).put_leased("/p/claim", "", lease.id);
    let claimed = client.txn(&claim).await?;
    ensure!(claimed.succeeded && !client.txn(&claim).await?.succeeded, "two claims");
    client.renew(lease.id).await?;
    let fenced = Txn::new().if_created_at("/p/claim", claimed.header.revision).put("/p/fenced", "");
    ensure!(client.txn(&fenced).await?.succeeded, "the claim is there");
    // Its end is an event.
    loop {
        let changes = watch.next().await?.changes;
        if changes.iter().any(|change| matches!(change, Change::Delete { key, .. } if key == "/p/claim")) {
            break;
        }
    }
    ensure!(!client.txn(&fenced).await?.succeeded, "a claim that is gone still fences");
    let error = client.renew(lease.id).await.err().context("a lease that has ended is renewed")?;
    ensure!(error.kind() == ErrorKind::LeaseNotFound, "{error:?}");
    let status = client.status().await?;
    ensure!(status.version == etcd.version() && status.has_leader && !status.is_half_full(), "{status:?}");
    Ok(())
}

pub(super) async fn a_user_may_do_what_its_role_allows_and_is_refused_the_rest(
    ground: &EtcdGround,
) -> Result<()> {
    let etcd = ground.start(1)?;
    enable_users(&etcd, "/p/h/a/")?;
    let with = |name: &str, password: &str| {
        Ok::<_, anyhow::Error>(Client::new(
            Config::new(url_of(&etcd)?)?.with_user(name, Password::Text(password.to_owned())),
        ))
    };
    let put = |key: &str| Txn::new().put(key, "v");
    let host = with("host", "secret")?;
    host.txn(&put("/p/h/a/x")).await?;
    let refused = host.txn(&put("/p/h/b/x")).await.err().context("another host's key")?;
    ensure!(refused.kind() == ErrorKind::PermissionDenied && !refused.may_be_done(), "{refused:?}");

    let reader = with("reader", "secret")?;
    let mut watch = reader.watch("/p/", 1).await?;
    ensure!(watch.next().await?.changes.len() == 1, "one key was written");
    let refused = reader.txn(&put("/p/h/a/x")).await.err().context("a reader writes")?;
    ensure!(refused.kind() == ErrorKind::PermissionDenied, "{refused:?}");
    // Of more than it may read.
    let refused = reader.watch("/", 1).await.err().context("a reader watches everything")?;
    ensure!(refused.kind() == ErrorKind::PermissionDenied, "{refused:?}");

    let refused = with("host", "wrong")?.txn(&put("/p/h/a/x")).await.err().context("a wrong password")?;
    ensure!(refused.kind() == ErrorKind::AuthenticationFailed, "{refused:?}");
    let refused = client_of(&etcd)?.txn(&put("/p/h/a/x")).await.err().context("no password")?;
    ensure!(refused.kind() == ErrorKind::AuthenticationFailed, "{refused:?}");

    // A member that was started again knows no tokens.
    block_in_place(|| {
        etcd.kill(0)?;
        etcd.start_again(0)
    })?;
    let lost = watch.next().await.err().context("the watch of a member that was killed")?;
    ensure!(lost.kind() == ErrorKind::Unreachable, "{lost:?}");
    reader.range(&Query::prefix("/p/")).await?;
    Ok(())
}

pub(super) async fn a_client_goes_to_another_member_when_its_own_does_not_answer(
    ground: &EtcdGround,
) -> Result<()> {
    let etcd = ground.start(3)?;
    let client = client_of(&etcd)?;
    let mut watch = client.watch("/p/", 1).await?;
    let first = client.txn(&Txn::new().put("/p/1", "")).await?;
    ensure!(watch.next().await?.header.revision == first.header.revision, "a watch is behind");
    let addresses = etcd.addresses();
    let own = addresses.iter().position(|address| address.to_string() == watch.member());
    let own = own.with_context(|| format!("{} is no member", watch.member()))?;
    block_in_place(|| etcd.kill(own))?;
    let lost = watch.next().await.err().context("the watch of a member that was killed")?;
    ensure!(lost.kind() == ErrorKind::Unreachable, "{lost:?}");
    // The others may have to elect a leader.
    let others = (0..3).find(|member| *member != own).unwrap_or_default();
    block_in_place(|| etcd.await_health(others))?;
    let mut watch = client.watch("/p/", first.header.revision + 1).await?;
    ensure!(watch.member() != addresses[own].to_string(), "it is the same member");
    let second = client.txn(&Txn::new().put("/p/2", "")).await?;
    ensure!(watch.next().await?.header.revision == second.header.revision, "a watch is behind");

    // What is left has no majority.
    let current = addresses.iter().position(|address| address.to_string() == watch.member());
    let third = (0..3).find(|member| Some(*member) != current && *member != own).context("three members")?;
    block_in_place(|| etcd.kill(third))?;
    let ended = watch.next().await.err().context("the watch of a member without a leader")?;
    ensure!(matches!(ended.kind(), ErrorKind::NoLeader | ErrorKind::Unreachable), "{ended:?}");
    let refused = client.txn(&Txn::new().put("/p/3", "")).await.err().context("without a majority")?;
    ensure!(refused.kind() != ErrorKind::Failed, "{refused:?}");
    Ok(())
}
