//! `whalewatcher hosts` and `whalewatcher fleet`: which hosts publish their engines in etcd, and forgetting
//! those that do not.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use tokio::time::timeout;
use whalewatcher_core::{Fleet, Printable, Settings};
use whalewatcher_etcd::{HostStatus, forget};

use crate::args::{EngineArgs, ForgetArgs, Format, HostsArgs, wrong};
use crate::clusters::Cluster;
use crate::hosts::clusters;
use crate::notes;
use crate::output::Output;
use crate::render::age::age;
use crate::render::grid::grid;
use crate::render::json;
use crate::render::style::Terminal;

/// How long etcd may take to be read.
const LIMIT: Duration = Duration::from_secs(15);

/// The columns that a narrow terminal drops, in this order: agent, address, since.
const DROPPED: [usize; 3] = [8, 2, 4];

/// Prints a line for each host that publishes or did.
pub(crate) async fn hosts(args: HostsArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for cluster in named(&args.engines)? {
        let fleet = Arc::new(Fleet::new());
        let hub = cluster.join(&fleet, &Settings::default());
        let seconds = LIMIT.as_secs();
        let ready = timeout(LIMIT, hub.ready()).await;
        ready
            .map_err(|_| anyhow!("etcd at {} is not read after {seconds} s", cluster.url()))?
            .map_err(|error| anyhow!("etcd at {}: {error}", cluster.url()))?;
        let hosts = hub.hosts();
        if hosts.is_empty() {
            notes::note(&format!("no host publishes its engines at {}", cluster.url()));
        }
        all.extend(hosts);
    }
    output
        .write(move |writer| {
            if writer.begin() {
                match args.format {
                    Format::Json => json::write_hosts(writer, &all)?,
                    Format::Text if all.is_empty() => {}
                    Format::Text => writer.write_all(table(&all, SystemTime::now()).as_bytes())?,
                }
            }
            Ok(())
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// Deletes what a host has published.
pub(crate) async fn forget_host(args: ForgetArgs) -> anyhow::Result<ExitCode> {
    let mut keys = 0;
    for cluster in named(&args.engines)? {
        let forgotten = forget(&cluster.client(), &args.id).await;
        keys += forgotten.map_err(|error| anyhow!("etcd at {}: {error}", cluster.url()))?;
    }
    if keys == 0 {
        return Err(anyhow!("no host has the ID '{}'; 'whalewatcher hosts' shows all", Printable(&args.id)));
    }
    Ok(ExitCode::SUCCESS)
}

fn named(engines: &EngineArgs) -> anyhow::Result<Vec<Cluster>> {
    let named = clusters(engines)?;
    if named.is_empty() {
        return Err(wrong("name the etcd in which hosts publish, with --host etcd://HOST"));
    }
    Ok(named)
}

fn table(hosts: &[HostStatus], now: SystemTime) -> String {
    let headings =
        ["NAME", "ID", "ADDRESS", "STATUS", "SINCE", "ENGINES", "CONTAINERS", "LAST WORD", "AGENT"];
    let mut rows = vec![headings.map(str::to_owned)];
    let ago = |time: Option<SystemTime>| time.map_or("-".to_owned(), |time| age(time, now));
    rows.extend(hosts.iter().map(|host| {
        let text = |text: Option<&str>| Printable(text.unwrap_or("-")).to_string();
        let live = host.engines.iter().filter(|engine| engine.error.is_none()).count();
        let containers: usize = host.engines.iter().map(|engine| engine.containers).sum();
        let status = if host.is_published { "publishing" } else { "silent" };
        [
            text(Some(&host.host.name)),
            text(Some(&host.host.id)),
            text(host.address.as_deref()),
            status.to_owned(),
            ago(host.since),
            format!("{live}/{}", host.engines.len()),
            containers.to_string(),
            if host.is_published { "now".to_owned() } else { ago(host.last_word) },
            text(host.agent_version.as_deref()),
        ]
    }));
    grid(&rows, &DROPPED, Terminal::of_stdout().width())
}
