//! What happens to single containers.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;

use crate::fixture::{Fixture, Hands as _};
use crate::recorder::Reader;

/// Before its trap is set, the first process of a PID namespace gets no signal.
const UNTIL_READY: &str = "until [ -e /dev/ready ]; do :; done";

pub(crate) async fn exits_have_their_codes<F: Fixture>(fixture: &F) -> Result<()> {
    fixture.prepare().await?;
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    for code in [0, 1, 42, 255] {
        let name = format!("ends-{code}");
        // It lives until it receives a signal, so that its start is seen before its end.
        let script = format!("trap 'exit {code}' TERM; sleep 1000000 & : > /dev/ready; wait");
        let id = fixture.run(&name, Some(&script)).await?;
        reported.expect(&format!("started {name}")).await?;
        driver.exec(&id, UNTIL_READY, 0).await?;
        driver.terminate(&id).await?;
        reported.expect(&format!("exited {name} {code}")).await?;
    }
    let id = fixture.run("killed", None).await?;
    reported.expect("started killed").await?;
    driver.kill(&id).await?;
    reported.expect("exited killed 137").await?;
    fixture.check(&watched).await
}

pub(crate) async fn execs_change_nothing_during_churn<F: Fixture>(fixture: &F) -> Result<()> {
    fixture.prepare().await?;
    let driver = &fixture.driver().await?;
    let watched = fixture.watch().await?;
    let hosts = try_join_all(["host-0", "host-1", "host-2"].map(|name| fixture.run(name, None))).await?;
    watched
        .recorder()
        .until("all are reported", |record| hosts.iter().all(|id| record.fold.by_id(id).is_some()))
        .await?;
    let reported = Reader::new(watched.recorder());
    let execs = |host: &String| {
        let host = host.clone();
        async move {
            for code in 0..12 {
                driver.exec(&host, &format!("exit {code}"), code).await?;
            }
            anyhow::Ok(())
        }
    };
    let coming_and_going = async {
        for number in 0..8 {
            let id = fixture.run(&format!("passer-by-{number}"), None).await?;
            driver.remove(&id).await?;
        }
        anyhow::Ok(())
    };
    let (execs, others) = tokio::join!(try_join_all(hosts.iter().map(execs)), coming_and_going);
    execs?;
    others?;
    // podman reports what it has done later, so the picture is right before everything has been reported.
    watched.recorder().until_reported(8, "exited").await?;
    fixture.fence(&watched).await?;
    fixture.check(&watched).await?;
    let rest = reported.rest();
    let passers =
        |kind: &str| rest.iter().filter(|words| words.starts_with(&format!("{kind} passer-by"))).count();
    ensure!(
        (passers("started"), passers("exited"), rest.len()) == (8, 8, 16),
        "execs changed something, or not all passers-by were reported: {rest:?}"
    );
    Ok(())
}
