//! A thousand hosts with a hundred containers each, published in a real etcd: how long until a hub and a
//! watcher for each engine know them, what memory that takes, and how long a change takes from its
//! transaction to a subscriber.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use procfs::page_size;
use procfs::process::Process;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::{Container, EngineIdentity, EventKind, Fleet, Layer, Settings};
use whalewatcher_etcd::Hub;
use whalewatcher_etcd::client::{Client, Config, Txn};
use whalewatcher_etcd::records::{
    ClaimRecord, ContainerRecord, EnginePhase, EngineRecord, Key, Versioned as _,
};
use xtask::cache::Cache;
use xtask::engines::{
    Engine, EngineKind, EtcdOptions, GivenPrograms, Installation, Packages, PrivateEtcd, Release,
};

use crate::bench::Effort;

const NAME: &str = "hub";
pub(crate) const HOSTS: usize = 1_000;
pub(crate) const CONTAINERS: usize = 100;
const ENGINE: &str = "d0c";

/// How many changes there are each second, and for how long.
const CHANGES: u32 = 350;
const SPAN: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

/// How many hosts are written at once.
const WRITERS: usize = 16;

pub(crate) const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let span = SPAN[usize::from(effort.large)];
    with_etcd(async |address| measured(&format!("etcd://{address}"), span).await)
}

/// Measures on an etcd of one member, at this address.
pub(crate) fn with_etcd(measure: impl AsyncFnOnce(&str) -> Result<Vec<Figure>>) -> Result<Vec<Figure>> {
    let cache = Cache::open()?;
    let engine = Engine { kind: EngineKind::Etcd, release: Release::Trixie };
    Packages::of(&cache).fetch(&[engine], false)?;
    let installation = Installation::find(&cache, engine, &GivenPrograms::default())?;
    let etcd = PrivateEtcd::start(&installation, &EtcdOptions::default())?;
    let address = etcd.addresses()[0].to_string();
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let figures = runtime.block_on(measure(&address));
    runtime.shutdown_background();
    etcd.stop()?;
    figures
}

async fn measured(url: &str, span: Duration) -> Result<Vec<Figure>> {
    let writer = Client::new(Config::new(url.parse()?)?);
    publish(&writer).await?;
    let before = resident()?;
    let began = Instant::now();
    let fleet = Arc::new(Fleet::new());
    let (_, mut changes) = fleet.subscribe();
    let hub = Hub::join(&fleet, Client::new(Config::new(url.parse()?)?), Settings::default());
    timeout(LIMIT, hub.ready()).await.context("etcd is not read")??;
    let readiness = fleet.ready(LIMIT).await;
    ensure!(readiness.is_complete(), "not all engines are ready");
    let ready = began.elapsed();
    let known = fleet.portfolio().containers().count();
    ensure!(known == HOSTS * CONTAINERS, "{known} containers are known");
    let memory = resident()?.saturating_sub(before);

    let sent = Arc::new(Mutex::new(HashMap::<String, Instant>::new()));
    let reader = tokio::spawn({
        let sent = sent.clone();
        async move {
            let mut taken = Vec::new();
            while let Some(change) = changes.next().await {
                let EventKind::Started(container) = &change.event.kind else { continue };
                let at = sent.lock().unwrap_or_else(PoisonError::into_inner).remove(container.id().as_str());
                taken.extend(at.map(|at| at.elapsed()));
                if container.name() == "last" {
                    break;
                }
            }
            taken
        }
    });
    let mut ticks = interval(Duration::from_secs(1) / CHANGES);
    let mut writes = JoinSet::new();
    let end = Instant::now() + span;
    for number in 0_usize.. {
        ticks.tick().await;
        let is_last = Instant::now() >= end;
        let (writer, sent) = (writer.clone(), sent.clone());
        let id = format!("new-{number}");
        let name = if is_last { "last" } else { "web" };
        if is_last {
            while writes.join_next().await.transpose()?.transpose()?.is_some() {}
        }
        writes.spawn(async move {
            let container = container(&id, number).with_name(name);
            let key =
                key(&writer, number % HOSTS, |host, engine| Key::Container { host, engine, id: id.clone() });
            let put = Txn::new().put(&key, ContainerRecord { container }.to_json());
            sent.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Instant::now());
            writer.txn(&put).await.map(drop)
        });
        if is_last {
            break;
        }
    }
    while writes.join_next().await.transpose()?.transpose()?.is_some() {}
    let taken = timeout(LIMIT, reader).await.context("not every change is reported")??;
    let size = format!("{HOSTS} hosts x {CONTAINERS} containers");
    let rate =
        format!("from a transaction to a subscriber, {} a second", taken.len() as u64 / span.as_secs());
    let mut figures = vec![
        Figure::new(NAME, format!("all known, {size}"), Unit::Seconds, Sample::once(ready.as_secs_f64())),
        Figure::new(NAME, format!("resident memory, {size}"), Unit::Bytes, Sample::once(memory as f64))
            .aiming_at(Aim::AtMost(250e6)),
    ];
    figures.extend(Figure::of_times(NAME, &rate, &taken, Some(Aim::AtMost(250.0))));
    Ok(figures)
}

/// Publishes all hosts, with claims that do not end meanwhile.
async fn publish(client: &Client) -> Result<()> {
    let mut writes = JoinSet::new();
    for host in 0..HOSTS {
        if writes.len() >= WRITERS {
            writes.join_next().await.transpose()?.transpose()?;
        }
        let client = client.clone();
        writes.spawn(async move {
            let claim = ClaimRecord {
                agent: "a".to_owned(),
                boot: "b".to_owned(),
                hostname: format!("host-{host}.example"),
                address: None,
                version: "0".to_owned(),
                since: Timestamp::now(),
            };
            let engine = EngineRecord {
                engine: EngineIdentity::new("docker.com", "unix:///run/docker.sock"),
                phase: EnginePhase::Live,
                since: Timestamp::now(),
                error: None,
                layer: Layer::Engine,
                unresolved: 0,
            };
            let claim_key = key(&client, host, |host, _| Key::Claim { host });
            let engine_key = key(&client, host, |host, engine| Key::Engine { host, engine });
            let txn = Txn::new().put(&claim_key, claim.to_json()).put(&engine_key, engine.to_json());
            client.txn(&txn).await?;
            let containers = (0..CONTAINERS).fold(Txn::new(), |txn, number| {
                let container = container(&format!("{:064x}", host * CONTAINERS + number), number);
                let id = container.id().to_string();
                let key = key(&client, host, |host, engine| Key::Container { host, engine, id });
                txn.put(&key, ContainerRecord { container }.to_json())
            });
            client.txn(&containers).await.map(drop)
        });
    }
    while writes.join_next().await.transpose()?.transpose()?.is_some() {}
    Ok(())
}

fn key(client: &Client, host: usize, key: impl FnOnce(String, String) -> Key) -> String {
    key(format!("{host:016x}"), ENGINE.to_owned()).below(client.config().url().prefix())
}

pub(crate) fn container(id: &str, number: usize) -> Container {
    let labels = [
        ("com.docker.compose.project", format!("project-{}", number % 10)),
        ("com.docker.compose.service", format!("service-{number}")),
        ("org.opencontainers.image.version", "1.2.3".to_owned()),
    ];
    let pid = u32::try_from(1_000 + number).unwrap_or(1);
    Container::new(id, format!("project-{}-service-{number}-1", number % 10), pid)
        .with_started_at(std::time::SystemTime::now())
        .with_labels(labels.into_iter().collect())
}

/// Returns how much memory this process has in the machine.
pub(crate) fn resident() -> Result<u64> {
    let memory = Process::myself().and_then(|process| process.statm()).context("no memory is reported")?;
    Ok(memory.resident * page_size())
}
