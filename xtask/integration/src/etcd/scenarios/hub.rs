//! The hub: what all hosts publish is one fleet, whatever happens to etcd and on the way to it.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use tokio::task::block_in_place;
use tokio::time::timeout;
use whalewatcher_core::{Container, Fleet, Settings};
use whalewatcher_etcd::client::{Client, Config};
use whalewatcher_etcd::{Hub, HubStatus, forget};
use whalewatcher_testkit::proxy::Proxy;
use xtask::engines::PrivateEtcd;

use crate::announced::Announced;
use crate::etcd::publisher::{Publisher, published, shown};
use crate::etcd::{EtcdGround, client_of};
use crate::recorder::LIMIT;
use crate::scenarios::{Stopped, cut_off};

const HOSTS: usize = 4;

/// Larger than any that a process has, so that none is taken for that of a container.
const FIRST_PID: u32 = 1 << 24;

/// Hosts that publish, and a fleet that follows.
struct World {
    etcd: PrivateEtcd,
    writer: Client,
    publishers: Vec<Publisher>,
    alive: Vec<(usize, Container)>,
    begun: u32,
    ended: usize,
    hub: Hub,
    announced: Announced,
}

impl World {
    /// The hub reads with this client.
    async fn start(etcd: PrivateEtcd, reader: Client) -> Result<World> {
        let writer = client_of(&etcd)?;
        let mut publishers = Vec::new();
        for number in 0..HOSTS {
            publishers.push(Publisher::start(&writer, &format!("host-{number}")).await?);
        }
        let fleet = Arc::new(Fleet::new());
        let announced = Announced::start(&fleet);
        // Audits would repair what is wrong.
        let hub = Hub::join(&fleet, reader, Settings::default().with_audits(None));
        timeout(LIMIT, hub.ready()).await.context("the hub does not read etcd")??;
        // The fleet lives for as long as something holds it.
        tokio::spawn(async move {
            let _fleet = fleet;
            std::future::pending::<()>().await;
        });
        Ok(World { etcd, writer, publishers, alive: Vec::new(), begun: 0, ended: 0, hub, announced })
    }

    async fn churn(&mut self, random: &mut Rng, steps: usize) -> Result<()> {
        for _ in 0..steps {
            if self.alive.len() > 3 && random.bool() {
                let (host, container) = self.alive.swap_remove(random.usize(..self.alive.len()));
                self.publishers[host].end_container(&container, 3).await?;
                self.ended += 1;
            } else {
                let (host, id) = (random.usize(..HOSTS), format!("c{}", self.begun));
                let container = Container::new(id, "web", FIRST_PID + self.begun);
                self.begun += 1;
                self.publishers[host].start_container(&container).await?;
                self.alive.push((host, container));
            }
        }
        Ok(())
    }

    /// Waits until the picture is what etcd holds, and checks that nothing was announced that did not happen.
    async fn check(&self) -> Result<()> {
        let truth = published(&self.writer).await?;
        ensure!(truth.len() == self.alive.len(), "etcd holds {} containers", truth.len());
        let is_right = |fold: &_| shown(fold).is_ok_and(|shown| shown == truth);
        let what = "all engines are live and the picture is what etcd holds";
        let all_live = |fold: &whalewatcher_core::FleetPortfolio| {
            fold.members().count() == HOSTS && fold.members().all(|member| member.is_live())
        };
        self.announced.until(what, |so_far| all_live(&so_far.fold) && is_right(&so_far.fold)).await?;
        let so_far = self.announced.so_far();
        so_far.is_right()?;
        let exits = so_far.count("exited");
        ensure!(exits <= self.ended, "{exits} exits were announced of {}\n{}", self.ended, so_far.tail());
        for (life, times) in &so_far.begun {
            ensure!(*times == 1, "{life:?} started {times} times\n{}", so_far.tail());
        }
        Ok(())
    }
}

pub(super) async fn the_picture_of_many_hosts_is_right_after_members_fail(ground: &EtcdGround) -> Result<()> {
    let etcd = ground.start(3)?;
    let reader = client_of(&etcd)?;
    let mut world = World::start(etcd, reader).await?;
    let mut random = Rng::with_seed(16);
    world.churn(&mut random, 20).await?;
    world.check().await?;
    for member in 0..3 {
        let stopped = Stopped::new(world.etcd.pid_of(member))?;
        // With those that still answer, and by way of them.
        let others: Vec<_> = (0..3).filter(|other| *other != member).collect();
        block_in_place(|| world.etcd.await_health(others[0]))?;
        let survivors = world.etcd.addresses();
        let url = format!("etcd://{},{}/p", survivors[others[0]], survivors[others[1]]);
        let through_others = Client::new(Config::new(url.parse()?)?);
        world.publishers.iter_mut().for_each(|publisher| publisher.use_client(&through_others));
        world.churn(&mut random, 10).await?;
        drop(stopped);
        block_in_place(|| {
            world.etcd.kill(member)?;
            world.etcd.start_again(member)
        })?;
        world.churn(&mut random, 10).await?;
        world.check().await.with_context(|| format!("after member {member} failed"))?;
    }
    block_in_place(|| world.etcd.stop())
}

pub(super) async fn a_hub_that_was_cut_off_beyond_a_compaction_reports_exactly_the_difference(
    ground: &EtcdGround,
) -> Result<()> {
    let etcd = ground.start(1)?;
    let proxy = Proxy::builder().listen_tcp().upstream(format!("tcp://{}", etcd.addresses()[0])).start()?;
    let url = format!("etcd://{}/p", proxy.endpoint().trim_start_matches("tcp://"));
    let mut world = World::start(etcd, Client::new(Config::new(url.parse()?)?)).await?;
    let mut random = Rng::with_seed(17);
    world.churn(&mut random, 20).await?;
    world.check().await?;

    let refusal = cut_off(&proxy).await?;
    let mut status = world.hub.follow_status();
    let is_down = |status: &HubStatus| matches!(status, HubStatus::Disconnected { .. });
    timeout(LIMIT, status.wait_for(is_down)).await.context("the hub does not notice")??;
    world.announced.until_reported("disconnected", HOSTS).await?;
    let before = world.announced.so_far().count("exited");
    world.churn(&mut random, 30).await?;
    block_in_place(|| world.etcd.compact(0))?;
    ensure!(world.announced.so_far().count("exited") == before, "an exit was announced without etcd");
    proxy.lift(refusal)?;
    world.check().await.context("after the cut")?;

    // A member that does nothing closes no connection.
    let stopped = Stopped::new(world.etcd.pid_of(0))?;
    timeout(LIMIT, status.wait_for(is_down)).await.context("the hub does not notice silence")??;
    drop(stopped);
    world.churn(&mut random, 5).await?;
    world.check().await.context("after the silence")?;

    // A store that was restored knows nothing of what happened since: that is the difference, too.
    let snapshot = block_in_place(|| world.etcd.snapshot())?;
    world.check().await.context("after a restart")?;
    let (alive, ended) = (world.alive.clone(), world.ended);
    world.churn(&mut random, 20).await?;
    world.check().await?;
    block_in_place(|| world.etcd.restore(&snapshot))?;
    let truth = published(&world.writer).await?;
    world
        .announced
        .until("the picture is that of the snapshot", |so_far| {
            shown(&so_far.fold).is_ok_and(|shown| shown == truth)
                && so_far.fold.members().all(|member| member.is_live())
        })
        .await?;
    ensure!(truth.len() == alive.len() && ended <= world.ended, "etcd is not what it was");
    block_in_place(|| world.etcd.stop())
}

pub(super) async fn a_thousand_lost_claims_end_no_life(ground: &EtcdGround) -> Result<()> {
    let etcd = ground.start(1)?;
    let reader = client_of(&etcd)?;
    let mut world = World::start(etcd, reader).await?;
    let mut random = Rng::with_seed(18);
    world.churn(&mut random, 20).await?;
    world.check().await?;
    let exits = world.announced.so_far().count("exited");
    for round in 1..=1_000 / HOSTS {
        for publisher in &mut world.publishers {
            publisher.lose_claim().await?;
            publisher.claim().await?;
            // An agent that knows that nothing has changed writes nothing else.
            if round % 2 == 0 {
                publisher.publish_engine().await?;
            }
        }
        // Each of them is noticed now and then.
        if round % 50 == 0 {
            world.check().await?;
        }
    }
    world.check().await?;
    ensure_only_disconnected(&world, exits)?;

    // Forgotten hosts leave, but not while an agent publishes for them.
    ensure!(forget(&world.writer, "host-0").await.is_err(), "a host was forgotten that is published");
    world.publishers[0].lose_claim().await?;
    ensure!(forget(&world.writer, "host-0").await? > 0, "nothing was forgotten");
    world.announced.until_reported("left docker.com", 1).await?;
    ensure!(world.hub.hosts().len() == HOSTS - 1, "{:?}", world.hub.hosts());
    block_in_place(|| world.etcd.stop())
}

fn ensure_only_disconnected(world: &World, exits: usize) -> Result<()> {
    let so_far = world.announced.so_far();
    ensure!(so_far.count("exited") == exits, "{}", so_far.tail());
    ensure!(so_far.count("disconnected") > 0, "nothing was noticed of lost claims");
    Ok(())
}
