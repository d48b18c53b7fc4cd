//! The connection is lost, and meanwhile the world goes on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use whalewatcher_core::Backoff;

use crate::docker::fixture::DockerFixture;
use crate::docker::scenarios::lifecycle::LISTS;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader};
use crate::scenarios::{is_reported, kill};
use whalewatcher_drivers::docker::Plan;
use whalewatcher_testkit::proxy::Proxy;

/// Lives for as long as a life must have lasted for a list to show after a restart that it is over: lists
/// contain ages in whole seconds, and may be dated ten seconds late.
const HOURGLASS: &str = "sleep 13";

pub(super) async fn killed_dockerd_with_live_restore_yields_the_difference(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?.that_is_cut();
    let stay = (0..4).map(|number| Plan::named(format!("stays-{number}")).in_project("staying"));
    docker.run_all(stay).await?;
    let ids = docker.run_all([Plan::named("goes"), Plan::named("phoenix").always_restarted()]).await?;
    docker.pause("stays-3").await?;
    docker.run(Plan::named("ended-before").running("exit 1")).await?;
    docker.until_ended("ended-before").await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = [fixture.pid(&ids[0]).await?, fixture.pid(&ids[1]).await?];

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() >= 6, "what was last known is gone during the outage");
    for pid in ending {
        kill(pid)?;
    }
    fixture.start_engine_with(true)?;
    watched.in_sync_again(1).await?;
    watched.recorder().until_reported(8, "started").await?;
    fixture.check(&watched).await?;
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
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    fixture.start_engine_with(false)?;
    watched.in_sync_again(1).await?;
    watched.recorder().until_reported(7, "started").await?;
    fixture.check(&watched).await?;
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
        let socket = fixture.engine().socket();
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
        fixture.check(&watched).await?;
    }
    Ok(())
}

/// Returns when dockerd listened, and when it answered a request that waited for it.
#[expect(clippy::disallowed_methods, reason = "only what is tested here reports when a socket listens")]
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
    let goes = docker.run(Plan::named("goes")).await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = fixture.pid(&goes).await?;

    let socket = fixture.engine().socket();
    fixture.terminate_engine()?;
    ensure!(!socket.exists(), "the socket file is still there");
    kill(ending)?;
    fixture.start_engine_with(true)?;
    watched.in_sync_again(2).await?;
    fixture.check(&watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())
}

pub(super) async fn replaced_socket_file_is_found(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    docker.run_all(["stays", "goes", "removed", "changes", "restarts"].map(Plan::named)).await?;
    docker.run(Plan::named("hourglass").running(HOURGLASS)).await?;
    docker.until_ended("hourglass").await?;
    let path = fixture.socket("front.sock");
    let front = || Proxy::builder().upstream(fixture.endpoint()).listen_unix(&path).start();
    let first = front()?;
    let watched = fixture.begin_watch_at(&first.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());

    // The connections outlive the file.
    fs::remove_file(&path)?;
    docker.run(Plan::named("unhindered")).await?;
    watched.recorder().until_reported(6, "started").await?;
    drop(first);
    watched.recorder().until_reported(1, "disconnected").await?;
    docker.kill("goes", "KILL").await?;
    docker.remove("removed").await?;
    docker.rename("changes", "changed").await?;
    docker.pause("changed").await?;
    docker.restart("restarts", 1).await?;
    docker.run(Plan::named("comes")).await?;
    docker.run(Plan::named("comes-and-goes").running("exit 0")).await?;
    docker.until_ended("comes-and-goes").await?;
    let second = front()?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
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
    let lists = second.stats().requests_of(LISTS);
    ensure!(lists == 1, "{lists} lists after the outage");
    Ok(())
}
