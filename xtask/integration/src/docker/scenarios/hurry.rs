//! Containers that change more often than an inspection takes.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use whalewatcher_testkit::proxy::Fault;

use crate::docker::fixture::DockerFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::LIMIT;
use whalewatcher_drivers::docker::Plan;

/// How long each answer about containers takes longer than it would: dockerd pauses or renames one several
/// times meanwhile.
const DELAY: Duration = Duration::from_millis(40);

/// How many changes there are of each container before the watcher comes, and are reported after it is ready.
const CHANGES: usize = 5;

pub(super) async fn containers_that_change_faster_than_inspections_are_shown(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let ids = docker.run_all(["pauses", "renames", "rests"].map(Plan::named)).await?;
    let (pausing, renaming) = (&ids[0], &ids[1]);
    let proxy = fixture.proxy()?;
    proxy.inject(Fault::delay(DELAY).on_requests("/json"))?;

    let (pauses, renames, is_over) = (watch::Sender::new(0), watch::Sender::new(0), Cell::new(false));
    let pause = async {
        while !is_over.get() {
            // dockerd refuses some: it takes note of a pause when containerd reports it, which may be after
            // the next one.
            for outcome in [docker.pause(pausing).await, docker.unpause(pausing).await] {
                pauses.send_modify(|count| *count += usize::from(outcome.is_ok()));
            }
        }
        anyhow::Ok(())
    };
    let rename = async {
        while !is_over.get() {
            docker.rename(renaming, &format!("renames-{}", *renames.borrow())).await?;
            renames.send_modify(|count| *count += 1);
        }
        anyhow::Ok(())
    };
    let watching = async {
        for changes in [&pauses, &renames] {
            changes.subscribe().wait_for(|count| *count >= CHANGES).await?;
        }
        let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
        let began = (Instant::now(), *pauses.borrow(), *renames.borrow());
        let ready = timeout(LIMIT, watched.watching.ready()).await;
        let status = ready.with_context(|| format!("it is never ready: {}", watched.watching.status()))??;
        let picture = watched.watching.portfolio();
        let missing = ids.iter().find(|id| picture.by_id(id).is_none());
        ensure!(missing.is_none() && status.unresolved.is_empty(), "ready without {missing:?}: {status}");
        fixture.figure(format!(
            "ready after {:?}, {} pauses and {} renames",
            began.0.elapsed(),
            *pauses.borrow() - began.1,
            *renames.borrow() - began.2
        ));
        for kind in ["paused", "unpaused", "updated"] {
            let reported = watched.recorder().record().count(kind);
            watched.recorder().until_reported(reported + CHANGES, kind).await?;
        }
        anyhow::Ok(watched)
    };
    let watching = async {
        let outcome = watching.await;
        is_over.set(true);
        outcome
    };
    // What fails ends the others, which otherwise go on until the watcher has seen enough.
    let (_, _, watched) = tokio::try_join!(pause, rename, watching)?;
    fixture.check(&watched).await?;
    let status = watched.watching.status();
    ensure!(status.counters.connects == 1, "the connection did not last: {status}");
    Ok(())
}
