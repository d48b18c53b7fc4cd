//! Docker's own clients at a socket of the program: its program, bollard, and our own watcher.

use std::fs;

use anyhow::{Result, bail, ensure};
use jiff::Timestamp;
use whalewatcher_drivers::docker::{Driver, Plan};
use xtask::engines::TEST_IMAGE;

use super::prometheus::Serving;
use super::serving::docker_at;
use crate::docker::fixture::DockerFixture;
use crate::docker::truth;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Record;
use crate::scenarios::kill;

/// What both print of containers in the same way.
const PS: &str = "{{.ID}}|{{.Names}}|{{.Image}}|{{.State}}|{{.Ports}}|{{.Networks}}|{{.CreatedAt}}\
                  |{{.Label \"com.docker.compose.project\"}}";

/// Commands that read.
const READING: [&[&str]; 8] = [
    &["ps", "--format", PS],
    &["ps", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.project=shop"],
    &["ps", "--quiet", "--filter", "status=paused"],
    &["ps", "--quiet", "--filter", "name=web"],
    &["ps", "--quiet", "--filter", "ancestor=whalewatcher-test"],
    &["ps", "--quiet", "--last", "1", "--filter", "network=none"],
    &["inspect", "web", "db", "idle"],
    &["inspect", "--format", "{{.State.Pid}}", "idle"],
];

/// Commands that would change something, or show more than is served.
const REFUSED: [&[&str]; 5] = [
    &["run", "--detach", TEST_IMAGE],
    &["rm", "--force", "web"],
    &["exec", "web", "true"],
    &["logs", "web"],
    &["image", "ls"],
];

/// The fields of an event by which both are compared.
const EVENT: &str = "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}";

pub(super) async fn dockers_own_clients_read_what_the_engine_has_and_change_nothing(
    fixture: &DockerFixture,
) -> Result<()> {
    if fixture.engine().installation().program("docker").is_err() {
        fixture.figure("no client of Docker was fetched for this engine".to_owned());
        return Ok(());
    }
    let folder = fixture.socket("clients");
    fs::create_dir(&folder)?;
    let serving = Serving::start(fixture, &folder, &["--docker-socket", "docker.sock"]).await?;
    let socket = folder.join("docker.sock");
    let served = format!("unix://{}", socket.display());
    let mut changes = serving.events().await?;
    changes.until("synced").await?;
    let since = Timestamp::now().to_string();
    let engine = fixture.driver().await?;
    let plans = [Plan::named("web").in_project("shop"), Plan::named("db"), Plan::named("idle")];
    let ids = engine.run_all(plans).await?;
    for _ in &ids {
        changes.until("started").await?;
    }
    engine.pause("idle").await?;
    changes.until("paused").await?;

    let both = |arguments: &[&str]| {
        let [here, there] = [&*served, &fixture.endpoint()].map(|host| docker_at(fixture, host, arguments));
        anyhow::Ok((here?, there?))
    };
    for arguments in READING {
        let (here, there) = both(arguments)?;
        ensure!(here == there, "docker {arguments:?} prints:\n{here}\nby the engine:\n{there}");
        ensure!(!here.trim().is_empty(), "docker {arguments:?} prints nothing");
    }
    for arguments in REFUSED {
        match docker_at(fixture, &served, arguments) {
            Ok(output) => bail!("docker {arguments:?} is not refused: {output}"),
            Err(error) => ensure!(format!("{error:#}").contains("for reading only"), "{error:#}"),
        }
    }
    let bollard = Driver::connect(&socket).await?;
    ensure!(
        truth::ask(&bollard).await?.alive == fixture.truth().await?.alive,
        "bollard reads something else"
    );

    // One watches the engine by way of the other.
    let watched = fixture.begin_watch_at(&served, settings())?.that_is_cut();
    watched.ready().await?;
    for _ in 0..3 {
        engine.restart("web", 1).await?;
        engine.unpause("idle").await?;
        engine.pause("idle").await?;
    }
    fixture.check(&watched).await?;
    // A duration is cut to seconds.
    let until = Timestamp::now().to_string();
    let events = ["events", "--since", &since, "--until", &until, "--format", EVENT];
    let filters = ["start", "die", "pause", "unpause"].map(|action| format!("--filter=event={action}"));
    let filters: Vec<_> = filters.iter().map(String::as_str).collect();
    // Of different containers, starts may come later, because they are inspected first.
    let lines = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
        lines
    };
    let (here, there) = both(&[&events[..], &filters].concat())?;
    let (here, there) = (lines(here), lines(there));
    ensure!(here == there, "events: {here:#?}\nby the engine: {there:#?}");

    // While the engine is away, what is known is still shown, and what ends is known by the kernel.
    let pid = fixture.pid(&ids[1]).await?;
    fixture.kill_engine()?;
    changes.until("disconnected").await?;
    kill(pid)?;
    let has_ended = |record: &Record| record.fold.containers().all(|one| one.name() != "db");
    watched.recorder().until("the end of 'db' is reported", has_ended).await?;
    let known = docker_at(fixture, &served, &["ps", "--format", "{{.Names}}"])?;
    ensure!(known.contains("web") && known.contains("idle") && !known.contains("db"), "it shows {known}");
    fixture.start_engine_with(true)?;
    changes.until("synced").await?;
    fixture.check(&watched).await
}
