//! What has to hold after every scenario, whatever it did.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::time::{Instant, sleep};

use super::stage::{Stage, Watched};
use super::truth::Truth;
use crate::check::{QUIET, Trouble, recovered, sequence, with_events};
use crate::recorder::LIMIT;
use crate::watched::Way;

/// Checks everything, once the engine is quiet and no more fault is at work.
pub(super) async fn check(stage: &Stage, watched: &Watched) -> Result<()> {
    if watched.way == Way::Faulty {
        recovered(watched, async || stage.fence(watched).await).await?;
    }
    let truth = await_truth(stage, watched).await?;
    let (told, trouble) = (watched.recorder().len(), Trouble::of(watched));
    sleep(QUIET).await;
    if watched.recorder().len() != told {
        bail!(
            "the picture was right, and yet there were events after number {told}\n{}",
            watched.recorder().tail()
        );
    }
    let again = Truth::ask(stage).await?.differences(&watched.watching.portfolio());
    ensure!(again.is_empty(), "the picture was right, and is not any more:\n    {}", again.join("\n    "));
    let status = watched.watching.status();
    ensure!(status.is_live(), "the watcher is not live: {status}");
    let now = Trouble::of(watched);
    let is_allowed = match watched.way {
        Way::Clear | Way::Cut => (now.divergences, now.garbled, now.retries) == (0, 0, 0),
        Way::Faulty => now == trouble,
    };
    ensure!(is_allowed, "something went wrong on the way to the right picture: {now:?}");
    ensure!(truth.alive.len() == watched.watching.portfolio().total(), "the portfolio counts otherwise");
    for recorder in &watched.recorders {
        recorder.hurry();
        let portfolio = watched.watching.portfolio();
        recorder.until("its events add up to the portfolio", |record| record.fold == portfolio).await?;
        let record = recorder.record().clone();
        with_events(sequence(&record, watched.way), recorder)?;
    }
    Ok(())
}

/// The engine is always a moment ahead, but not for long.
async fn await_truth(stage: &Stage, watched: &Watched) -> Result<Truth> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let truth = Truth::ask(stage).await?;
        let differences = truth.differences(&watched.watching.portfolio());
        if differences.is_empty() {
            return Ok(truth);
        }
        if Instant::now() > deadline {
            bail!(
                "the portfolio is not what ctr lists:\n    {}\n{}",
                differences.join("\n    "),
                watched.recorder().tail()
            );
        }
        watched.recorder().next_within(Duration::from_millis(50)).await;
    }
}
