//! A host that publishes, at a scenario's word and not as the agent does it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use whalewatcher_core::fleet::FleetPortfolio;
use whalewatcher_core::{Container, EngineIdentity, Layer};
use whalewatcher_etcd::client::{Client, Query, Txn};
use whalewatcher_etcd::records::{
    ClaimRecord, ContainerRecord, EnginePhase, EngineRecord, ExitRecord, Key, Record, Versioned as _,
    hosts_prefix,
};

/// The engine of each host.
const ENGINE: &str = "d0c";

/// Leases are not renewed, and outlive any scenario.
const LEASE: Duration = Duration::from_secs(3_600);

/// What is alive on all hosts, by the ID of the host and of the container.
pub(super) type Alive = BTreeMap<(String, String), Container>;

pub(super) struct Publisher {
    client: Client,
    host: String,
    /// The revision at which the claim was made, and its lease.
    claim: (i64, i64),
    slot: u8,
}

impl Publisher {
    /// Claims a host and publishes an engine without containers.
    pub(super) async fn start(client: &Client, host: &str) -> Result<Publisher> {
        let mut publisher =
            Publisher { client: client.clone(), host: host.to_owned(), claim: (0, 0), slot: 0 };
        publisher.claim().await?;
        publisher.publish_engine().await?;
        Ok(publisher)
    }

    /// Publishes by way of another client from now on.
    pub(super) fn use_client(&mut self, client: &Client) {
        self.client = client.clone();
    }

    /// Claims the host, as an agent does that begins.
    pub(super) async fn claim(&mut self) -> Result<()> {
        let lease = self.client.grant(LEASE).await?;
        let record = ClaimRecord {
            agent: "a".to_owned(),
            boot: "b".to_owned(),
            hostname: format!("{}.example", self.host),
            address: None,
            version: "0".to_owned(),
            since: Timestamp::now(),
        };
        let key = self.key(|host| Key::Claim { host });
        let txn = Txn::new().if_created_at(&key, 0).put_leased(&key, record.to_json(), lease.id);
        let answer = self.client.txn(&txn).await?;
        ensure!(answer.succeeded, "{} is claimed already", self.host);
        self.claim = (answer.header.revision, lease.id);
        Ok(())
    }

    /// Loses the claim, as an agent does that ends or is cut off.
    pub(super) async fn lose_claim(&self) -> Result<()> {
        Ok(self.client.revoke(self.claim.1).await?)
    }

    /// Publishes that the engine is live.
    pub(super) async fn publish_engine(&self) -> Result<()> {
        let record = EngineRecord {
            engine: EngineIdentity::new("docker.com", "unix:///run/docker.sock"),
            phase: EnginePhase::Live,
            since: Timestamp::now(),
            error: None,
            layer: Layer::Engine,
            unresolved: 0,
        };
        let key = self.key(|host| Key::Engine { host, engine: ENGINE.to_owned() });
        self.write(Txn::new().put(&key, record.to_json())).await
    }

    pub(super) async fn start_container(&self, container: &Container) -> Result<()> {
        let record = ContainerRecord { container: container.clone() };
        self.write(Txn::new().put(&self.container_key(container.id()), record.to_json())).await
    }

    /// Ends a container with an exit code.
    pub(super) async fn end_container(&mut self, container: &Container, code: i32) -> Result<()> {
        let record = ExitRecord {
            id: container.id().clone(),
            pid: container.pid(),
            started_at: None,
            time: Timestamp::now(),
            exit_code: Some(code),
            oom_killed: false,
        };
        let slot = self.slot;
        self.slot = slot.wrapping_add(1);
        let ring = self.key(|host| Key::Exit { host, engine: ENGINE.to_owned(), slot });
        let txn = Txn::new().delete(&self.container_key(container.id())).put(&ring, record.to_json());
        self.write(txn).await
    }

    async fn write(&self, txn: Txn) -> Result<()> {
        let claim = self.key(|host| Key::Claim { host });
        let written = self.client.txn(&txn.if_created_at(&claim, self.claim.0)).await?;
        ensure!(written.succeeded, "{} was claimed by another one", self.host);
        Ok(())
    }

    fn container_key(&self, id: &str) -> String {
        self.key(|host| Key::Container { host, engine: ENGINE.to_owned(), id: id.to_owned() })
    }

    fn key(&self, key: impl FnOnce(String) -> Key) -> String {
        key(self.host.clone()).below(self.client.config().url().prefix())
    }
}

/// Reads what all hosts publish, at one revision and without a hub.
pub(super) async fn published(client: &Client) -> Result<Alive> {
    let prefix = client.config().url().prefix();
    let page = client.range(&Query::prefix(&hosts_prefix(prefix))).await?;
    let mut alive = Alive::new();
    for pair in page.items {
        let key = Key::parse(prefix, &pair.key)?;
        if let Record::Container(it) = Record::read(&key, &pair.key, &pair.value)? {
            alive.insert((key.host().to_owned(), it.container.id().to_string()), it.container);
        }
    }
    Ok(alive)
}

/// Returns what a fleet shows, by hosts.
pub(super) fn shown(fleet: &FleetPortfolio) -> Result<Alive> {
    let mut alive = Alive::new();
    for (member, container) in fleet.containers() {
        let identity =
            member.watcher().identity().context("an engine shows containers without a connection")?;
        let host = identity.host.as_ref().context("an engine without a host")?.id.clone();
        alive.insert((host, container.id().to_string()), Container::clone(container));
    }
    Ok(alive)
}
