//! Followers of the portfolio.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{sleep, timeout};
use whalewatcher_core::scripted::Engine;
use whalewatcher_core::{EngineWatcher, Portfolio, PortfolioFollower, Watcher};

use crate::{container, live};

async fn changed(follower: &mut PortfolioFollower) -> Portfolio {
    timeout(Duration::from_secs(600), follower.changed()).await.expect("a change").expect("no end")
}

#[tokio::test(start_paused = true)]
async fn a_follower_skips_what_was_replaced_and_misses_nothing_that_stays() {
    let (engine, watching) = live(&["stays"]).await;
    let mut follower = watching.follow_portfolio();
    assert_eq!(*follower.portfolio(), engine.truth());
    assert!(follower.changed().now_or_never().is_none(), "nothing changed");
    for pid in 1..100 {
        engine.start(container("again", pid));
        engine.exit("again", Some(0));
    }
    engine.start(container("comes", 7));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(follower.portfolio().total(), 1, "as returned last");
    assert_eq!(changed(&mut follower).await, engine.truth());
    assert_eq!(*follower.portfolio(), engine.truth());
    assert!(follower.changed().now_or_never().is_none(), "that was one change");
    engine.exit("comes", None);
    assert_eq!(changed(&mut follower).await, engine.truth());
}

#[tokio::test(start_paused = true)]
async fn what_changes_no_portfolio_wakes_no_follower() {
    let (engine, watching) = live(&["a"]).await;
    let mut follower = watching.follow_portfolio();
    engine.disconnect();
    let reconnected = async {
        watching.follow_status().wait_for(|status| !status.is_live()).await;
        watching.ready().await.unwrap();
    };
    tokio::select! {
        _ = follower.changed() => panic!("nothing changed"),
        () = reconnected => {}
    }
    assert!(follower.changed().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_a_closed_watcher_returns_its_last_portfolio_and_ends() {
    let (engine, watching) = live(&["a"]).await;
    let mut follower = watching.follow_portfolio();
    engine.start(container("b", 2));
    let last = changed(&mut watching.follow_portfolio()).await;
    watching.close().await;
    assert_eq!(follower.changed().await, Some(last));
    assert_eq!(follower.changed().await, None);
    assert_eq!(follower.portfolio().total(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_from_before_the_first_connection_receives_what_is_found() {
    let engine = Engine::new();
    engine.start(container("a", 1));
    let watcher: Box<dyn Watcher> = Box::new(EngineWatcher::new(engine.clone()));
    let mut follower = watcher.follow_portfolio();
    let _watching = tokio::spawn(watcher.watch(Default::default()));
    assert_eq!(changed(&mut follower).await, engine.truth());
}
