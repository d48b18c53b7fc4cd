//! The connection is lost, and meanwhile the world goes on.

use std::fs;

use anyhow::{Result, ensure};

use crate::docker::fixture::DockerFixture;
use crate::docker::scenarios::lifecycle::LISTS;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Reader;
use crate::scenarios::{is_reported, kill};
use whalewatcher_drivers::docker::Plan;
use whalewatcher_testkit::proxy::Proxy;

/// Lives for as long as a life must have lasted for a list to show after a restart that it is over: lists contain ages in whole
/// seconds, and may be dated ten seconds late.
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
