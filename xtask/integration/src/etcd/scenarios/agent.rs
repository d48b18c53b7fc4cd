//! The agent: what hosts publish with it is what a hub shows, and whatever fails is reported as what it is.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::block_in_place;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::{Container, EngineWatcher, ErrorKind as EngineErrorKind, Fleet, Settings};
use whalewatcher_etcd::client::{Client, Config, ErrorKind, Password, Query, Txn};
use whalewatcher_etcd::publish::{HostIdentity, PublishError, PublishStatus, Publisher};
use whalewatcher_etcd::records::Key;
use whalewatcher_etcd::{ClusterUrl, Hub};
use whalewatcher_testkit::scripted::Engine;
use xtask::engines::{EtcdOptions, EtcdTls, PrivateEtcd};

use crate::announced::Announced;
use crate::etcd::publisher::{Alive, shown};
use crate::etcd::{EtcdGround, client_of, enable_users, url_of};
use crate::recorder::LIMIT;

/// Larger than any that a process has, so that none is taken for that of a container.
const FIRST_PID: u32 = 1 << 24;

/// A host with a scripted engine and an agent.
struct Host {
    id: String,
    engine: Engine,
    status: watch::Receiver<PublishStatus>,
    stop: oneshot::Sender<()>,
    agent: AbortOnDropHandle<Result<(), PublishError>>,
    begun: u32,
}

impl Host {
    fn start(client: &Client, id: &str) -> Result<Host> {
        let engine = Engine::at(&format!("unix:///run/{id}.sock"));
        let fleet = Fleet::new();
        fleet.add(EngineWatcher::with_settings(engine.clone(), Settings::default().with_audits(None)))?;
        let publisher = Publisher::new(client.clone(), HostIdentity::of_this_host(Some(id))?);
        let status = publisher.follow_status();
        let (stop, stopped) = oneshot::channel();
        let agent = AbortOnDropHandle::new(tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            publisher.run(&fleet, stopped).await
        }));
        Ok(Host { id: id.to_owned(), engine, status, stop, agent, begun: 0 })
    }

    fn begin(&mut self) -> String {
        let id = format!("{}-{}", self.id, self.begun);
        let pid = FIRST_PID + self.begun;
        self.begun += 1;
        let labels = [("com.docker.compose.project", "shop"), ("secret", "x")];
        let container =
            Container::new(id.as_str(), id.as_str(), pid).with_labels(labels.into_iter().collect());
        self.engine.start(container);
        id
    }

    fn churn(&mut self, random: &mut Rng, steps: usize) {
        for _ in 0..steps {
            let alive: Vec<String> =
                self.engine.truth().containers().map(|container| container.id().to_string()).collect();
            if alive.len() > 3 && random.bool() {
                self.engine.exit(&alive[random.usize(..alive.len())], Some(7));
            } else {
                self.begin();
            }
        }
    }

    async fn until(
        &mut self,
        what: &str,
        holds: impl FnMut(&PublishStatus) -> bool,
    ) -> Result<PublishStatus> {
        let found = timeout(LIMIT, self.status.wait_for(holds)).await.map(|found| found.map(|it| it.clone()));
        match found {
            Ok(Ok(status)) => Ok(status),
            _ => anyhow::bail!("{}: {what}: never; {:?}", self.id, self.status.borrow()),
        }
    }

    async fn until_failed(&mut self, kind: ErrorKind) -> Result<PublishStatus> {
        let what = format!("it fails with {kind:?}");
        self.until(&what, |status| status.error.as_ref().is_some_and(|error| error.kind() == kind)).await
    }

    async fn until_current(&mut self) -> Result<()> {
        self.until("etcd holds what is alive", |status| status.is_current).await.map(drop)
    }

    async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        Ok(timeout(LIMIT, self.agent).await.context("the agent does not end")???)
    }
}

/// A fleet that follows etcd.
struct Shown {
    announced: Announced,
    _hub: Hub,
    _fleet: Arc<Fleet>,
}

impl Shown {
    fn start(client: Client) -> Shown {
        let fleet = Arc::new(Fleet::new());
        let announced = Announced::start(&fleet);
        let hub = Hub::join(&fleet, client, Settings::default().with_audits(None));
        Shown { announced, _hub: hub, _fleet: fleet }
    }

    /// Waits until it shows what these hosts' engines run, and that they are live.
    async fn until_it_shows(&self, hosts: &[&Host]) -> Result<()> {
        let truth: Alive = hosts
            .iter()
            .flat_map(|host| {
                let of_host = |container: &Arc<Container>| {
                    let labels = container.labels().iter().filter(|(name, _)| *name != "secret");
                    let labels = labels.map(|(name, value)| (name.to_string(), value.to_string())).collect();
                    let container = Container::clone(container).with_labels(labels);
                    ((host.id.clone(), container.id().to_string()), container)
                };
                host.engine.truth().containers().map(of_host).collect::<Vec<_>>()
            })
            .collect();
        let holds = |fold: &whalewatcher_core::FleetPortfolio| {
            fold.members().count() == hosts.len()
                && fold.members().all(|member| member.is_live())
                && shown(fold).is_ok_and(|shown| shown == truth)
        };
        self.announced.until("the picture is that of the hosts", |so_far| holds(&so_far.fold)).await?;
        self.announced.so_far().is_right()
    }
}

pub(super) async fn what_agents_publish_is_what_a_hub_shows(ground: &EtcdGround) -> Result<()> {
    let etcd = ground.start(1)?;
    let client = client_of(&etcd)?;
    let mut random = Rng::with_seed(16);
    let (mut one, mut other) =
        (Host::start(&client_of(&etcd)?, "one")?, Host::start(&client_of(&etcd)?, "other")?);
    one.churn(&mut random, 10);
    let shown = Shown::start(client.clone());
    one.churn(&mut random, 150);
    other.churn(&mut random, 150);
    shown.until_it_shows(&[&one, &other]).await?;

    // The engine of one host, and then etcd itself.
    one.engine.refuse(EngineErrorKind::Unreachable, "the engine is down");
    one.engine.disconnect();
    shown.announced.until_reported("disconnected", 1).await?;
    let before = shown.announced.so_far().count("exited");
    block_in_place(|| etcd.kill(0))?;
    other.until("it notices", |status| status.error.is_some()).await?;
    one.engine.accept();
    one.churn(&mut random, 30);
    other.churn(&mut random, 30);
    ensure!(shown.announced.so_far().count("exited") == before, "an exit was announced without etcd");
    block_in_place(|| etcd.start_again(0))?;
    shown.until_it_shows(&[&one, &other]).await.context("after an outage")?;

    // Claims that are lost end no life.
    let claim = Key::Claim { host: "one".into() }.below("/p/");
    let before = shown.announced.so_far().count("exited");
    for _ in 0..10 {
        one.until_current().await?;
        let page = client.range(&Query::key(&claim)).await?;
        client.revoke(page.items.first().context("the host is not claimed")?.lease).await?;
        one.begin();
        shown.until_it_shows(&[&one, &other]).await.context("after a claim was lost")?;
    }
    ensure!(shown.announced.so_far().count("exited") == before, "a lost claim ends lives");
    let begun = shown.announced.so_far().begun.values().all(|times| *times == 1);
    ensure!(begun, "a life started twice\n{}", shown.announced.so_far().tail());

    let disconnected = shown.announced.so_far().count("disconnected");
    other.stop().await?;
    shown.announced.until_reported("disconnected", disconnected + 1).await?;
    let tail = shown.announced.so_far().tail();
    ensure!(tail.contains("the agent has ended"), "{tail}");
    ensure!(shown.announced.so_far().count("exited") == before, "the end of an agent ends lives");
    block_in_place(|| etcd.stop())
}

pub(super) async fn a_second_agent_for_a_host_ends_and_names_the_first(ground: &EtcdGround) -> Result<()> {
    let etcd = ground.start(1)?;
    let client = client_of(&etcd)?;
    let mut first = Host::start(&client, "one")?;
    first.begin();
    first.until_current().await?;
    let epoch = |client: Client| async move {
        let claim = Key::Claim { host: "one".into() }.below("/p/");
        Ok::<_, anyhow::Error>(
            client.range(&Query::key(&claim)).await?.items.first().map(|it| it.create_revision),
        )
    };
    let before = epoch(client.clone()).await?;
    let mut second = Host::start(&client_of(&etcd)?, "one")?;
    let rival = second.until("it waits", |status| status.waits_for.is_some()).await?;
    let rival = rival.waits_for.context("just seen")?.agent;
    let ended = timeout(LIMIT, pin!(&mut second.agent)).await.context("the second agent goes on")??;
    let error = ended.err().context("the second agent ends without a reason")?;
    ensure!(error.to_string().contains(&rival), "{error}");
    ensure!(epoch(client.clone()).await? == before, "the first agent lost its claim");

    // When the first one is gone, a next one goes on where it ended.
    let engine = first.engine.clone();
    first.stop().await?;
    let mut third = Host::start(&client, "one")?;
    engine.truth().containers().for_each(|container| third.engine.start(Container::clone(container)));
    third.until_current().await?;
    ensure!(epoch(client).await? > before, "the claim is still that of the first");
    Ok(())
}

pub(super) async fn a_full_database_loses_nothing(ground: &EtcdGround) -> Result<()> {
    let quota = 4 * 1024 * 1024;
    let arguments = vec![format!("--quota-backend-bytes={quota}")];
    let etcd = ground.start_with(&EtcdOptions { arguments, ..EtcdOptions::default() })?;
    let client = client_of(&etcd)?;
    let mut host = Host::start(&client_of(&etcd)?, "one")?;
    host.begin();
    host.until_current().await?;
    let error = loop {
        match client.txn(&Txn::new().put("/other", vec![0; 256 * 1024])).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    ensure!(error.kind() == ErrorKind::NoSpace, "{error:?}");
    host.begin();
    host.until_failed(ErrorKind::NoSpace).await?;
    host.begin();
    block_in_place(|| {
        etcd.compact(0)?;
        etcd.call(0, "/v3/maintenance/defragment", &json!({}))?;
        let alarms = etcd.call(0, "/v3/maintenance/alarm", &json!({ "action": "GET" }))?;
        let member = &alarms["alarms"][0]["memberID"];
        let disarm = json!({ "action": "DEACTIVATE", "alarm": "NOSPACE", "memberID": member });
        etcd.call(0, "/v3/maintenance/alarm", &disarm)
    })?;
    host.until_current().await?;
    let shown = Shown::start(client);
    shown.until_it_shows(&[&host]).await
}

pub(super) async fn users_and_certificates_that_are_refused_are_reported(ground: &EtcdGround) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let (authority, stranger) = (Authority::new(&file("ca.pem"))?, Authority::new(&file("other.pem"))?);
    authority.sign(&file("cert.pem"), &file("key.pem"), 4000)?;
    let tls = EtcdTls {
        certificate: file("cert.pem"),
        key: file("key.pem"),
        client_authority: Some(file("other.pem")),
    };
    let etcd = ground.start_with(&EtcdOptions { tls: Some(tls), ..EtcdOptions::default() })?;
    enable_users(&etcd, "/p/h/one/")?;
    stranger.sign(&file("client.pem"), &file("client.key"), 4000)?;
    stranger.sign(&file("old.pem"), &file("old.key"), 2001)?;
    authority.sign(&file("foreign.pem"), &file("foreign.key"), 4000)?;
    let client = |ca: &str, own: &str, password: &str| {
        let (certificate, key) = (file(&format!("{own}.pem")), file(&format!("{own}.key")));
        let url = secure_url_of(&etcd)?;
        let config = Config::with_certificates(url, Some(&file(ca)), Some(&certificate), Some(&key))?;
        let config = config.with_user("host", Password::Text(password.to_owned()));
        Ok::<_, anyhow::Error>(Client::new(config))
    };
    let mut host = Host::start(&client("ca.pem", "client", "secret")?, "one")?;
    host.begin();
    host.until_current().await?;
    for (ca, own, password, id, kind, why) in [
        ("ca.pem", "client", "secret", "two", ErrorKind::PermissionDenied, "no permission"),
        ("ca.pem", "client", "wrong", "one", ErrorKind::AuthenticationFailed, "refuses to authenticate"),
        ("other.pem", "client", "secret", "one", ErrorKind::CertificateRefused, "other.pem"),
        ("ca.pem", "old", "secret", "one", ErrorKind::CertificateRefused, "old.pem"),
        ("ca.pem", "foreign", "secret", "one", ErrorKind::CertificateRefused, "foreign.pem"),
    ] {
        let mut refused = Host::start(&client(ca, own, password)?, id)?;
        let status =
            refused.until_failed(kind).await.with_context(|| format!("with {ca}, {own}, {password}"))?;
        let error = status.error.context("just seen")?.to_string();
        ensure!(error.contains(why), "{error}");
    }
    // Without TLS where TLS is spoken.
    let url = secure_url_of(&etcd)?.to_string().replacen("etcds", "etcd", 1);
    let mut plain = Host::start(&Client::new(Config::new(url.parse()?)?), "one")?;
    plain.until_failed(ErrorKind::NotEtcd).await?;
    host.begin();
    host.until_current().await
}

fn secure_url_of(etcd: &PrivateEtcd) -> Result<ClusterUrl> {
    Ok(url_of(etcd)?.to_string().replacen("etcd", "etcds", 1).parse()?)
}

/// A certificate authority.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Writes its certificate to a file.
    fn new(file: &Path) -> Result<Authority> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, file.to_string_lossy().into_owned());
        fs::write(file, params.self_signed(&key)?.pem())?;
        Ok(Authority(Issuer::new(params, key)))
    }

    /// Writes a certificate for 127.0.0.1 that is valid until this year, and its key.
    fn sign(&self, certificate: &Path, key_file: &Path, until: i32) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
        fs::write(certificate, params.signed_by(&key, &self.0)?.pem())?;
        fs::write(key_file, key.serialize_pem())?;
        Ok(())
    }
}
