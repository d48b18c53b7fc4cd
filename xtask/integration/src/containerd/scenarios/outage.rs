//! The connection is lost, while tasks end.

use anyhow::{Result, ensure};

use super::super::fixture::ContainerdFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Reader;
use crate::scenarios::{cut_off, is_reported, kill};
use whalewatcher_drivers::containerd::Plan;

pub(super) async fn exits_during_an_outage_have_their_codes(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    let ending = driver.run_all([Plan::of("goes"), Plan::of("other/goes")]).await?;
    watched.recorder().until_reported(2, "started").await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());

    let refusal = cut_off(&proxy).await?;
    watched.recorder().until_reported(1, "disconnected").await?;
    for pid in ending {
        kill(pid)?;
    }
    driver.run(&Plan::of("comes")).await?;
    proxy.lift(refusal)?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    let rest = reported.rest();
    let expected: [(&str, &[&str]); 3] =
        [("goes", &["exited"]), ("other/goes", &["exited"]), ("comes", &["started"])];
    is_reported(&rest, &expected, watched.recorder())?;
    let codes = rest.iter().filter(|words| words.ends_with(" 137")).count();
    ensure!(codes == 2, "their tasks show how they ended: {rest:?}");
    Ok(())
}
