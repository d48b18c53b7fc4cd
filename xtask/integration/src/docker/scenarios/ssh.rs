//! Docker on another host, through a real ssh and sshd.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, timeout};
use whalewatcher_core::adapter::EngineClient as _;
use whalewatcher_core::{ErrorKind, Settings, watch, watch_with};
use whalewatcher_drivers::docker::Plan;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::proxy::{Fault, Proxy};

use super::sshd::Sshd;
use crate::docker::fixture::{DockerFixture, Watched};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::LIMIT;
use crate::scenarios::kill;

/// The time that bytes take in each direction: a round trip takes 50 ms.
const ONE_WAY: Duration = Duration::from_millis(25);

/// What is aimed at is 1.5 s; machines that run scenarios are busy.
const SOON: Duration = Duration::from_secs(15);

pub(super) async fn is_watched_through_ssh(fixture: &DockerFixture) -> Result<()> {
    let Some(sshd) = Sshd::start(fixture, "sshd").await? else { return Ok(()) };
    let (docker, socket) = (fixture.driver().await?, fixture.engine().socket());
    let ids = docker.run_all((0..12).map(|number| Plan::named(format!("far-{number}")))).await?;
    let watched = Watched::new(watch_with(sshd.client_at(sshd.port, &socket)?, settings())).that_is_cut();
    watched.ready().await?;
    docker.restart("far-1", 1).await?;
    docker.run(Plan::named("later")).await?;
    fixture.check(&watched).await?;

    let ending = fixture.pid(&ids[0]).await?;
    sshd.cut()?;
    kill(ending)?;
    watched.recorder().until_reported(1, "disconnected").await?;
    watched.in_sync_again(1).await?;
    watched.recorder().until_reported(2, "exited").await?;
    fixture.check(&watched).await?;
    drop(watched);
    sshd.until_unused(&socket).await
}

pub(super) async fn each_failure_of_ssh_is_an_error_of_its_own(fixture: &DockerFixture) -> Result<()> {
    let Some(sshd) = Sshd::start(fixture, "sshd-failing").await? else { return Ok(()) };
    let socket = fixture.engine().socket();
    let fails = async |port: u16, socket: &std::path::Path, kind: ErrorKind, reason: &str| {
        let client = sshd.client_at(port, socket)?;
        let Err(error) = client.connect(&Settings::default()).await else {
            anyhow::bail!("it connects, though expected was: {reason}")
        };
        let is_right = error.kind() == kind && error.to_string().contains(reason);
        ensure!(is_right, "expected was {kind:?}, {reason}: {:?}, {error}", error.kind());
        fixture.figure(error.to_string());
        anyhow::Ok(())
    };
    let moved = |name: &str| (sshd.folder.join(name), sshd.folder.join("away"));
    let (known, away) = moved("known");
    fs::rename(&known, &away)?;
    fails(sshd.port, &socket, ErrorKind::Configuration, "is unknown: run 'ssh -p ").await?;
    fs::write(&known, format!("whale {}", fs::read_to_string(sshd.folder.join("me.pub"))?))?;
    fails(sshd.port, &socket, ErrorKind::Configuration, "is not the one in known_hosts").await?;
    fs::rename(&away, &known)?;
    let (key, away) = moved("me");
    fs::rename(&key, &away)?;
    fails(sshd.port, &socket, ErrorKind::PermissionDenied, "ssh may not log in at ").await?;
    fs::rename(&away, &key)?;
    fails(sshd.port, &fixture.socket("nowhere"), ErrorKind::Unreachable, "dockerd does not listen at")
        .await?;
    let (docker, away) = moved("bin/docker");
    fs::rename(&docker, &away)?;
    if !std::path::Path::new("/usr/bin/docker").exists() {
        fails(sshd.port, &socket, ErrorKind::NotThisEngine, "there is no program 'docker'").await?;
    }
    fs::rename(&away, &docker)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    fails(port, &socket, ErrorKind::Unreachable, "Connection refused; is the host up").await?;
    sshd.until_unused(&socket).await
}

pub(super) async fn two_hundred_containers_are_known_soon_over_slow_connections(
    fixture: &DockerFixture,
) -> Result<()> {
    let engine = Server::builder().tcp(true).start()?;
    for number in 0..200 {
        engine.run(format!("c{number}"))?;
    }
    let slow = |upstream: String| {
        let proxy = Proxy::builder().upstream(upstream).listen_tcp().start()?;
        proxy.inject(Fault::delay(ONE_WAY))?;
        anyhow::Ok(proxy)
    };
    let ready_after = async |what: &str, client: Client| {
        let begun = Instant::now();
        let watching = watch(client);
        timeout(LIMIT, watching.ready()).await??;
        let took = begun.elapsed();
        ensure!(watching.portfolio().total() == 200, "{} containers", watching.portfolio().total());
        fixture.figure(format!("{what}, with a round trip of 50 ms: 200 containers after {took:.0?}"));
        ensure!(took < SOON, "{what}: {took:?}");
        anyhow::Ok(())
    };
    let proxy = slow(engine.tcp_endpoint().unwrap_or_default())?;
    ready_after("TCP", Client::new(proxy.endpoint())?).await?;
    let Some(sshd) = Sshd::start(fixture, "sshd-slow").await? else { return Ok(()) };
    let proxy = slow(format!("tcp://127.0.0.1:{}", sshd.port))?;
    let endpoint = proxy.endpoint();
    let port = endpoint.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
    ready_after("ssh", sshd.client_at(port, &engine.socket())?).await?;
    sshd.until_unused(&engine.socket()).await
}
