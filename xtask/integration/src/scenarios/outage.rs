//! The connection is lost, or is dead without saying so, and meanwhile the world goes on.

use anyhow::{Result, ensure};

use super::{Stopped, is_reported, kill, until_noticed};
use crate::fixture::{Fixture, Hands as _};
use crate::recorder::Reader;

/// On engines that leave containers alive when they are killed.
pub(crate) async fn killed_engine_yields_the_difference<F: Fixture>(fixture: &F) -> Result<()> {
    let watched = fixture.watch().await?.that_is_cut();
    for name in ["stays-0", "stays-1"] {
        fixture.run(name, None).await?;
    }
    let rests = fixture.run("rests", None).await?;
    let goes = fixture.run("goes", None).await?;
    // A pause that comes before the inspection of the start is not reported by itself.
    watched.recorder().until_reported(4, "started").await?;
    fixture.driver().await?.pause(&rests).await?;
    watched.recorder().until_reported(1, "paused").await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = fixture.pid(&goes).await?;

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() == 4, "what was last known is gone during the outage");
    kill(ending)?;
    fixture.start_engine()?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())?;

    // It goes on as before.
    fixture.driver().await?.unpause(&rests).await?;
    watched.recorder().until_reported(1, "unpaused").await?;
    fixture.run("comes", None).await?;
    watched.recorder().until("it is reported", |record| record.fold.by_name("comes").is_some()).await?;
    fixture.check(&watched).await
}

pub(crate) async fn stopped_engine_is_detected_and_yields_the_difference<F: Fixture>(
    fixture: &F,
) -> Result<()> {
    fixture.prepare().await?;
    fixture.run("stays", None).await?;
    let rests = fixture.run("rests", None).await?;
    fixture.driver().await?.pause(&rests).await?;
    let goes = fixture.run("goes", None).await?;
    let watched = fixture.watch().await?;
    // CRI may emit the exit before the watcher is subscribed again, and record it only later.
    let watched = if F::FAILS_INSPECTIONS { watched.that_is_hindered() } else { watched.that_is_cut() };
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = fixture.pid(&goes).await?;

    let stopped = Stopped::new(fixture.engine().pid())?;
    kill(ending)?;
    fixture.figure(until_noticed(&watched).await?);
    ensure!(watched.watching.portfolio().by_id(&goes).is_some(), "no event can have reported the exit yet");
    ensure!(reported.rest().is_empty(), "reported although the engine says nothing: {:?}", reported.rest());

    drop(stopped);
    watched.in_sync_again(1).await?;
    // containerd's shim could not report it, and tries again after a while.
    watched.recorder().until_reported(1, "exited").await?;
    fixture.check(&watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())
}
