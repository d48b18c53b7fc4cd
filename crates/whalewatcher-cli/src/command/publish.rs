//! `whalewatcher publish`: publishes what is alive on this host in etcd.

use std::future::pending;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use whalewatcher_core::Fleet;
use whalewatcher_etcd::publish::{HostIdentity, PublishStatus, Publisher};

use super::following::{Following, follow};
use crate::args::{FilterArgs, PublishArgs, wrong};
use crate::clusters::Cluster;
use crate::hosts::hosts;
use crate::notes::note_beside;
use crate::selection::{Pattern, Selection};

/// How long the last words to etcd may take.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(5);

/// Publishes until it is dropped, after which the task that writes the last words is among the `commands`.
pub(crate) async fn publish(
    fleet: &Arc<Fleet>,
    mut arguments: PublishArgs,
    commands: &TaskTracker,
) -> anyhow::Result<()> {
    let engines = &mut arguments.engines;
    if engines.hosts.iter().any(|host| Cluster::is_one(host)) {
        return Err(wrong("publish publishes the engines of this host; --etcd names where"));
    }
    let (tls, user) = (take(&mut engines.tls), take(&mut engines.etcd));
    if user.forget_after.is_some() {
        return Err(wrong("--forget-after is for what shows other hosts, and publish shows none"));
    }
    if arguments.etcd.starts_with("etcd://") && (tls.ca.is_some() || tls.certificate.is_some()) {
        return Err(wrong("certificates are for TLS, and etcd:// has none: use etcds://"));
    }
    let cluster = Cluster::from_host(&arguments.etcd, &tls, &user);
    let cluster = cluster.map_err(|error| wrong(format!("--etcd: {error}")))?;
    let publisher = publisher(&cluster, &arguments)?;
    let hosts = hosts(&arguments.engines)?;
    let everything = Selection::new(&[], &FilterArgs::default())?;
    let Following { warnings: _warnings, discovery: _discovery, .. } = follow(fleet, hosts, &everything)?;
    let status = publisher.follow_status();
    let name = format!("host ID {}", publisher.host().id);
    let ending = CancellationToken::new();
    let _end = ending.clone().drop_guard();
    let fleet = fleet.clone();
    let publishing = commands.spawn(async move { publisher.run(&fleet, ending.cancelled_owned()).await });
    tokio::select! {
        ended = publishing => Ok(ended??),
        () = report(status, &name) => Ok(()),
    }
}

fn publisher(cluster: &Cluster, arguments: &PublishArgs) -> anyhow::Result<Publisher> {
    let host = match arguments.host_id.as_deref() {
        Some("") => return Err(wrong("--host-id: an ID has at least one character")),
        id => {
            HostIdentity::of_this_host(id).context("cannot identify this host; --host-id gives it an ID")?
        }
    };
    let publisher = Publisher::new(cluster.client(), host);
    let labels = arguments.labels.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>, _>>();
    let labels = labels.map_err(|error| wrong(format!("--publish-labels: {error}")))?;
    Ok(if labels.is_empty() {
        publisher
    } else {
        publisher.with_labels(move |name| labels.iter().any(|pattern| pattern.matches(name)))
    })
}

/// Prints what changes about publishing, each error once for as long as it lasts.
async fn report(mut status: watch::Receiver<PublishStatus>, name: &str) {
    let (mut was_current, mut errors, mut noted) = (false, Vec::new(), PublishStatus::default());
    loop {
        let now = status.borrow_and_update().clone();
        if now.is_current && (!was_current || !errors.is_empty()) {
            note_beside(format!("publishing as {name}: etcd holds what is alive"));
            errors.clear();
        }
        was_current |= now.is_current;
        if let Some(error) =
            now.error.as_ref().map(ToString::to_string).filter(|error| !errors.contains(error))
        {
            note_beside(format!("waiting for etcd: {error}"));
            errors.push(error);
        }
        if let Some(rival) = now.waits_for.as_ref().filter(|_| noted.waits_for.is_none()) {
            note_beside(format!(
                "waiting until the claim of agent {} of {} on {name} is over",
                rival.agent, rival.hostname
            ));
        }
        if let Some(warning) = now.warning.clone().filter(|_| noted.warning.is_none()) {
            note_beside(warning);
        }
        noted = now;
        if status.changed().await.is_err() {
            return pending().await;
        }
    }
}
