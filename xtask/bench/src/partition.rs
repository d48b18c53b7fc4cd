//! A thousand hosts whose agents are cut off from etcd for half a minute, while something changes on each:
//! how long after that until a subscriber of the hub knows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_bench::figure::{Aim, Figure};
use whalewatcher_core::fleet::FleetSubscription;
use whalewatcher_core::{Container, EngineWatcher, EventKind, Fleet, Settings};
use whalewatcher_etcd::Hub;
use whalewatcher_etcd::client::{Client, Config};
use whalewatcher_etcd::publish::{HostIdentity, PublishStatus, Publisher};
use whalewatcher_testkit::proxy::{Fault, Proxy};
use whalewatcher_testkit::scripted::Engine;

use crate::bench::Effort;
use crate::hub::{CONTAINERS, HOSTS, LIMIT, container, with_etcd};

const NAME: &str = "partition";

/// For how long the hosts are cut off.
const CUT: Duration = Duration::from_secs(30);

/// How many containers of each host end and begin meanwhile, and within what time 99 % of the hosts are to be
/// right again.
const CHANGES: [(usize, Option<Aim>); 2] = [(10, Some(Aim::AtMost(2_000.0))), (100, None)];

/// A host with its engine and agent.
struct Host {
    engine: Engine,
    status: watch::Receiver<PublishStatus>,
    _agent: AbortOnDropHandle<()>,
    begun: usize,
}

impl Host {
    fn start(url: &str, number: usize) -> Result<Host> {
        let engine = Engine::at(&format!("unix:///run/{number}.sock")).with_whole_lists(true);
        let fleet = Fleet::new();
        let settings = Settings::default().with_audits(None).with_probes(None, LIMIT);
        fleet.add(EngineWatcher::with_settings(engine.clone(), settings))?;
        let identity = HostIdentity::of_this_host(Some(&format!("{number:016x}")))?;
        let publisher = Publisher::new(Client::new(Config::new(url.parse()?)?), identity);
        let status = publisher.follow_status();
        let agent = tokio::spawn(async move {
            let ended = publisher.run(&fleet, std::future::pending()).await;
            ended.unwrap_or_else(|error| eprintln!("an agent ended: {error}"));
        });
        let mut host = Host { engine, status, _agent: AbortOnDropHandle::new(agent), begun: 0 };
        (0..CONTAINERS).for_each(|_| host.begin(number));
        Ok(host)
    }

    fn begin(&mut self, number: usize) {
        let id = format!("{:064x}", number * 1_000_000 + self.begun);
        self.engine.start(container(&id, self.begun));
        self.begun += 1;
    }

    /// Has so many things happen, half of them ends and half starts.
    fn change(&mut self, number: usize, changes: usize) {
        let alive: Vec<Container> =
            self.engine.truth().containers().take(changes / 2).map(|it| Container::clone(it)).collect();
        alive.iter().for_each(|container| self.engine.exit(container.id(), Some(0)));
        (0..changes - alive.len()).for_each(|_| self.begin(number));
    }
}

pub(crate) fn run(_: &str, _: &Effort) -> Result<Vec<Figure>> {
    with_etcd(async |address| measured(address).await)
}

async fn measured(address: &str) -> Result<Vec<Figure>> {
    let proxy = Proxy::builder().listen_tcp().upstream(format!("tcp://{address}")).start()?;
    let url = proxy.endpoint().replacen("tcp", "etcd", 1);
    let mut hosts = (0..HOSTS).map(|number| Host::start(&url, number)).collect::<Result<Vec<_>>>()?;
    until_current(&mut hosts).await?;
    let fleet = Arc::new(Fleet::new());
    let client = Client::new(Config::new(format!("etcd://{address}").parse()?)?);
    let hub = Hub::join(&fleet, client, Settings::default());
    timeout(LIMIT, hub.ready()).await.context("etcd is not read")??;
    ensure!(fleet.ready(LIMIT).await.is_complete(), "not all engines are ready");
    let mut figures = Vec::new();
    for (changes, aim) in CHANGES {
        let (_, following) = fleet.subscribe();
        // Connections are accepted and closed. A port that is closed would be taken by one of so many clients.
        let fault = proxy.inject(Fault::cut_after(0))?;
        proxy.cut_all();
        let begun = Instant::now();
        for (number, host) in hosts.iter_mut().enumerate() {
            host.change(number, changes);
            tokio::task::yield_now().await;
        }
        sleep(CUT.saturating_sub(begun.elapsed())).await;
        proxy.lift(fault)?;
        let known = timeout(LIMIT, known(following, changes)).await.context("not everything is known")??;
        let what = format!(
            "{HOSTS} hosts after {} s without etcd, {changes} changes each, all known",
            CUT.as_secs()
        );
        figures.extend(Figure::of_times(NAME, &what, &known, aim));
        until_current(&mut hosts).await?;
    }
    Ok(figures)
}

/// Reads until so many changes of each host are known. Returns how long that took of each.
async fn known(mut following: FleetSubscription, changes: usize) -> Result<Vec<Duration>> {
    let began = Instant::now();
    let (mut counts, mut taken) = (HashMap::<_, usize>::new(), Vec::new());
    while taken.len() < HOSTS {
        let change = following.next().await.context("the fleet is closed")?;
        if let EventKind::Started(_) | EventKind::Exited { .. } = change.event.kind {
            let count = counts.entry(change.key).or_default();
            *count += 1;
            if *count == changes {
                taken.push(began.elapsed());
            }
        }
    }
    Ok(taken)
}

/// Waits until etcd holds what is alive on all hosts.
async fn until_current(hosts: &mut [Host]) -> Result<()> {
    for host in hosts {
        let current = host.status.wait_for(|status| status.is_current);
        timeout(LIMIT, current).await.context("an agent does not publish everything")??;
    }
    Ok(())
}
