//! Reconnects, and changes during an outage.

use std::time::SystemTime;

use whalewatcher_containerd::Client;
use whalewatcher_core::EventKind;
use whalewatcher_testkit::containerd::{ContainerSpec, Server};
use whalewatcher_testkit::faulty::outages_end_at_once;

use crate::watched::{assert_true, watch};

#[tokio::test]
async fn a_restarted_engine_is_reported_by_the_exact_difference() {
    let server = Server::builder().start().unwrap();
    for id in ["stays", "goes", "shop/is-replaced", "shop/pauses", "gone/1"] {
        server.run(id).unwrap();
    }
    let mut watched = watch(&server).live().await;
    server.stop_listening().await;
    let lost = watched.reported().await;
    assert!(lost.starts_with("disconnected "), "{lost}");
    // Shims survive containerd.
    server.exit("goes", 3).unwrap();
    server.remove("shop/is-replaced").unwrap();
    server.run(ContainerSpec::new("shop/is-replaced")).unwrap();
    server.pause("shop/pauses").unwrap();
    server.remove("gone/1").unwrap();
    server.delete_namespace("gone").unwrap();
    server.run("new/1").unwrap();
    server.listen_again().unwrap();
    let mut reported = watched.until_reported("synced").await;
    reported.sort();
    assert_eq!(
        reported,
        [
            "exited goes 3",
            "exited gone/1",
            "exited shop/is-replaced",
            "paused shop/pauses",
            "started new/1",
            "started shop/is-replaced",
            "synced 4",
        ]
    );
    assert_true(&watched, &server);
}

#[tokio::test]
async fn an_engine_that_listens_again_is_found_however_long_the_back_off_is() {
    let server = Server::builder().start().unwrap();
    let stop = async || server.stop_listening().await;
    outages_end_at_once(Client::new(server.endpoint()).unwrap(), stop, || server.listen_again().unwrap())
        .await;
}

#[tokio::test]
async fn survivors_are_not_announced_again_however_often_the_connection_ends() {
    let server = Server::builder().start().unwrap();
    for nth in 0..10 {
        server.run(format!("n{}/c{nth}", nth % 3)).unwrap();
    }
    let mut watched = watch(&server).live().await;
    for _ in 0..5 {
        server.disconnect_all();
        let reported = watched.reported_all(2).await;
        assert!(reported[0].starts_with("disconnected "), "{reported:?}");
        assert_eq!(reported[1], "synced 10");
    }
}

#[tokio::test]
async fn a_missed_exit_is_known_until_its_task_is_deleted() {
    for (is_replaced, expected) in [(false, Some(137)), (true, None)] {
        let server = Server::builder().start().unwrap();
        server.run("shop/web").unwrap();
        server.run("shop/over").unwrap();
        server.exit("shop/over", 1).unwrap();
        let mut watched = watch(&server).live().await;
        server.stop_listening().await;
        server.exit("shop/web", 137).unwrap();
        if is_replaced {
            server.delete_task("shop/web").unwrap();
            server.start("shop/web").unwrap();
            server.exit("shop/web", 5).unwrap();
        }
        let ended = SystemTime::now();
        server.listen_again().unwrap();
        assert!(watched.reported().await.starts_with("disconnected "));
        let event = watched.next().await;
        let EventKind::Exited { container, code } = &event.kind else { panic!("{event}") };
        assert_eq!((container.name(), *code), ("shop/web", expected), "replaced: {is_replaced}");
        assert!(is_replaced || event.time <= ended, "{event}");
        assert_eq!(watched.reported().await, "synced 0");
        assert_eq!(
            watched.watching.status().counters.ignored,
            0,
            "of what was not known nothing is reported"
        );
    }
}
