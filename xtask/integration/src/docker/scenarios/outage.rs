//! The connection is lost, and meanwhile the world goes on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use whalewatcher_core::Backoff;

use crate::docker::check::check;
use crate::docker::churn::Churn;
use crate::docker::counting_proxy::CountingProxy;
use crate::docker::fixture::{DockerFixture, pid_of};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader, Recorder};
use whalewatcher_drivers::docker::Plan;

/// Lives for as long as a life must have lasted for a list to show after a restart that it is over: lists contain ages in whole
/// seconds, and may be dated ten seconds late.
const HOURGLASS: &str = "sleep 13";

/// Returns what was reported of a container, in order.
fn reported_of(reported: &[String], name: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    for words in reported {
        let mut parts = words.split(' ');
        if let (Some(kind), Some(other)) = (parts.next(), parts.next())
            && other == name
        {
            kinds.push(kind.to_owned());
        }
    }
    kinds
}

pub(crate) fn is_reported(
    reported: &[String],
    expected: &[(&str, &[&str])],
    recorder: &Recorder,
) -> Result<()> {
    for (name, kinds) in expected {
        let of_it = reported_of(reported, name);
        ensure!(
            of_it == *kinds,
            "of {name} was reported {of_it:?} instead of {kinds:?}\n{}",
            recorder.tail()
        );
    }
    let count: usize = expected.iter().map(|(_, kinds)| kinds.len()).sum();
    ensure!(reported.len() == count, "there was more than that: {reported:?}");
    Ok(())
}

pub(crate) fn kill(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).context("0 is no process")?;
    kill_process(pid, Signal::KILL).context("cannot kill a container's initial process")
}

pub(super) async fn killed_dockerd_with_live_restore_yields_the_difference(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?.that_is_cut();
    let stay = (0..4).map(|number| Plan::named(format!("stays-{number}")).in_project("staying"));
    docker.run_all(stay).await?;
    docker.run_all([Plan::named("goes"), Plan::named("phoenix").always_restarted()]).await?;
    docker.pause("stays-3").await?;
    docker.run(Plan::named("ended-before").running("exit 1")).await?;
    docker.until_ended("ended-before").await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = [pid_of(&docker, "goes").await?, pid_of(&docker, "phoenix").await?];

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() >= 6, "what was last known is gone during the outage");
    for pid in ending {
        kill(pid)?;
    }
    fixture.start_engine_with(true)?;
    watched.in_sync_again(1).await?;
    watched.recorder().until_reported(8, "started").await?;
    check(fixture, &watched).await?;
    let expected: [(&str, &[&str]); 2] = [("goes", &["exited"]), ("phoenix", &["exited", "started"])];
    is_reported(&reported.rest(), &expected, watched.recorder())
}

pub(super) async fn killed_dockerd_without_live_restore_yields_the_difference(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?.that_is_cut();
    docker.run_all((0..3).map(|number| Plan::named(format!("goes-{number}")))).await?;
    docker.run_all((0..2).map(|number| Plan::named(format!("phoenix-{number}")).always_restarted())).await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    fixture.start_engine_with(false)?;
    watched.in_sync_again(1).await?;
    watched.recorder().until_reported(7, "started").await?;
    check(fixture, &watched).await?;
    let (goes, rises): (&[&str], &[&str]) = (&["exited"], &["exited", "started"]);
    let expected =
        [("goes-0", goes), ("goes-1", goes), ("goes-2", goes), ("phoenix-0", rises), ("phoenix-1", rises)];
    is_reported(&reported.rest(), &expected, watched.recorder())
}

/// The delays of the back-off are an hour, so it is the socket that shows that dockerd is there again.
pub(super) async fn a_killed_dockerd_is_found_as_soon_as_it_listens(fixture: &DockerFixture) -> Result<()> {
    let hour = Duration::from_secs(3600);
    let settings = settings().with_backoff(Backoff::default().with_delays(hour, hour));
    let docker = fixture.driver().await?;
    docker.run_all((0..5).map(|number| Plan::named(format!("phoenix-{number}")).always_restarted())).await?;
    drop(docker);
    let watched = fixture.begin_watch(settings)?.that_is_cut();
    watched.ready().await?;
    for (outage, away) in [(1, Duration::ZERO), (2, Duration::from_secs(10))] {
        fixture.kill_engine()?;
        watched.recorder().until_reported(outage, "disconnected").await?;
        sleep(away).await;
        let socket = fixture.engine().docker_socket();
        let returning = spawn_blocking(move || returned(&socket));
        let recovering = async {
            watched.in_sync_again(outage).await?;
            anyhow::Ok(Instant::now())
        };
        let (started, returned, recovered) =
            tokio::join!(async { fixture.start_engine_with(true) }, returning, recovering);
        started?;
        let ((listened, answered), recovered) = (returned??, recovered?);
        fixture.figure(format!(
            "away for {} s: in sync {} ms after dockerd listened, which answered {} ms after that",
            away.as_secs(),
            recovered.saturating_duration_since(listened).as_millis(),
            answered.duration_since(listened).as_millis()
        ));
        check(fixture, &watched).await?;
    }
    Ok(())
}

/// Returns when dockerd listened, and when it answered a request that waited for it.
fn returned(socket: &Path) -> Result<(Instant, Instant)> {
    let deadline = Instant::now() + LIMIT;
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) => ensure!(Instant::now() < deadline, "dockerd does not listen: {error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let listened = Instant::now();
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")?;
    stream.read_exact(&mut [0])?;
    Ok((listened, Instant::now()))
}

pub(super) async fn dockerd_killed_repeatedly_during_churn(fixture: &DockerFixture) -> Result<()> {
    let watched = fixture.watch().await?.that_is_cut();
    let churn = Churn::prepare(&fixture.driver().await?, "churned", 6, 1).await?;
    for live_restore in [true, false] {
        let docker = fixture.driver().await?;
        let synced = watched.recorder().record().synced();
        let (over, before) = (AtomicBool::new(false), churn.transitions());
        let outage = async {
            churn.until_transitions(before + 12).await;
            fixture.kill_engine()?;
            over.store(true, Ordering::Relaxed);
            fixture.start_engine_with(live_restore)
        };
        let (_, _, outage) = tokio::join!(
            churn.run(&docker, 1, || over.load(Ordering::Relaxed)),
            churn.run(&docker, 2, || over.load(Ordering::Relaxed)),
            outage
        );
        outage?;
        let again = |record: &crate::recorder::Record| record.synced() > synced;
        watched.recorder().until("it is in sync again", again).await?;
        churn.until_quiet(&fixture.driver().await?).await?;
        check(fixture, &watched).await?;
    }
    fixture.figure(format!("{} transitions, and 2 outages", churn.transitions()));
    Ok(())
}

pub(super) async fn orderly_restart_announces_no_survivor(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?.that_is_cut();
    // Only an engine that was started so leaves its containers alive when it is asked to end.
    fixture.kill_engine()?;
    fixture.start_engine_with(true)?;
    watched.in_sync_again(1).await?;
    drop(docker);
    let docker = fixture.driver().await?;
    docker.run_all((0..3).map(|number| Plan::named(format!("stays-{number}")))).await?;
    docker.run(Plan::named("goes")).await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = pid_of(&docker, "goes").await?;

    let socket = fixture.engine().docker_socket();
    fixture.terminate_engine()?;
    ensure!(!socket.exists(), "the socket file is still there");
    kill(ending)?;
    fixture.start_engine_with(true)?;
    watched.in_sync_again(2).await?;
    check(fixture, &watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())
}

pub(super) async fn replaced_socket_file_is_found(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    docker.run_all(["stays", "goes", "removed", "changes", "restarts"].map(Plan::named)).await?;
    docker.run(Plan::named("hourglass").running(HOURGLASS)).await?;
    docker.until_ended("hourglass").await?;
    let path = fixture.socket("front.sock");
    let engine = fixture.engine().docker_socket();
    let front = CountingProxy::start(path.clone(), &engine)?;
    let watched = fixture.begin_watch_at(&front.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());

    // The connections outlive the file.
    fs::remove_file(&path)?;
    docker.run(Plan::named("unhindered")).await?;
    watched.recorder().until_reported(6, "started").await?;
    drop(front);
    watched.recorder().until_reported(1, "disconnected").await?;
    docker.kill("goes", "KILL").await?;
    docker.remove("removed").await?;
    docker.rename("changes", "changed").await?;
    docker.pause("changed").await?;
    docker.restart("restarts", 1).await?;
    docker.run(Plan::named("comes")).await?;
    docker.run(Plan::named("comes-and-goes").running("exit 0")).await?;
    docker.until_ended("comes-and-goes").await?;
    let front = CountingProxy::start(path, &engine)?;
    watched.in_sync_again(1).await?;
    check(fixture, &watched).await?;
    let expected: [(&str, &[&str]); 6] = [
        ("unhindered", &["started"]),
        ("goes", &["exited"]),
        ("removed", &["exited"]),
        ("changed", &["updated", "paused"]),
        ("restarts", &["exited", "started"]),
        ("comes", &["started"]),
    ];
    let reported = reported.rest();
    is_reported(&reported, &expected, watched.recorder())?;
    // An inspection shows how the first one ended, and the events that the engine remembers how the others did.
    for begin in ["exited goes 137", "exited removed 137", "exited restarts "] {
        let is_reported = reported.iter().any(|words| words.starts_with(begin));
        ensure!(is_reported, "'{begin}' was not reported\n{}", watched.recorder().tail());
    }
    let requests = front.requests();
    ensure!(requests.lists == 1, "{} lists after the outage", requests.lists);
    Ok(())
}
