//! Subscribers that read at different speeds.

use std::time::Duration;

use anyhow::{Result, ensure};
use whalewatcher_core::EventKind;

use crate::docker::fixture::DockerFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Recorder;
use whalewatcher_drivers::docker::Plan;

const OURS: (&str, &str) = ("label", "of=subscribers");

pub(super) async fn slow_subscriber_delays_no_other_and_receives_the_difference(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let plan = |name| Plan::named(name).labelled("of", "subscribers");
    docker.run_all(["stays", "goes", "restarts"].map(plan)).await?;
    let settings = settings().with_subscriber_queue(4);
    let mut watched = fixture.begin_watch(settings)?;
    watched.ready().await?;
    let unread = watched.watching.subscribe();
    let held = unread.0.clone();
    let before = watched.recorder().len();
    for _ in 0..10 {
        for name in ["stays", "restarts"] {
            docker.pause(name).await?;
            docker.unpause(name).await?;
        }
    }
    docker.remove("goes").await?;
    docker.restart("restarts", 0).await?;
    docker.rename("stays", "stays-renamed").await?;
    docker.pause("stays-renamed").await?;
    docker.run(Plan::named("comes")).await?;
    fixture.check(&watched).await?;
    let record = watched.recorder().record().clone();
    ensure!(record.count("lagged") == 0, "the one that reads lagged\n{}", watched.recorder().tail());
    // Docker 20.10 may emit more: a late event of its containerd about a pause counts as another one.
    let (unpaused, ever) = (record.count("unpaused"), docker.count_events("unpause", OURS).await?);
    ensure!(
        (20..=ever).contains(&unpaused),
        "{ever} times unpaused, reported {unpaused} times\n{}",
        watched.recorder().tail()
    );
    ensure!(held.by_name("goes").is_some(), "a picture that is held has changed");

    watched.recorders.push(Recorder::start("unread", unread, Duration::ZERO));
    fixture.check(&watched).await?;
    let unread = &watched.recorders[1];
    let record = unread.record().clone();
    let Some(EventKind::Lagged { missed }) = record.events.first().map(|event| &event.kind) else {
        anyhow::bail!("what comes first is not that it lagged\n{}", unread.tail());
    };
    let reported = watched.recorder().len() - before;
    ensure!(usize::try_from(*missed)? <= reported, "{missed} missed, of {reported}");
    let words = record.reported_since(0);
    fixture.figure(format!("{missed} events missed, and reported then: {}", words.join(", ")));
    for expected in ["exited goes", "exited restarts", "started restarts", "updated stays-renamed"] {
        let count = words.iter().filter(|words| words.starts_with(expected)).count();
        ensure!(count == 1, "'{expected}' is reported {count} times\n{}", unread.tail());
    }
    ensure!(
        words.contains(&"paused stays-renamed".to_owned()),
        "the pause is not reported\n{}",
        unread.tail()
    );
    ensure!(record.count("lagged") == 1 && words.len() == 6, "more was reported: {words:?}");
    Ok(())
}
