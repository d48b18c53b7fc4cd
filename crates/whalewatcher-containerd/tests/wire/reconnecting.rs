//! Connections that end, and what happened meanwhile.

use whalewatcher_testkit::containerd::{ContainerSpec, Server};

use crate::watched::{assert_true, watch};

#[tokio::test]
async fn an_engine_that_is_killed_and_started_again_is_told_by_exactly_what_differs() {
    let server = Server::builder().start().unwrap();
    for id in ["stays", "goes", "shop/is-replaced", "shop/pauses", "gone/1"] {
        server.run(id).unwrap();
    }
    let mut watched = watch(&server).live().await;
    server.stop_listening().await;
    let lost = watched.told().await;
    assert!(lost.starts_with("disconnected "), "{lost}");
    // Shims live on without containerd.
    server.exit("goes", 0).unwrap();
    server.remove("shop/is-replaced").unwrap();
    server.run(ContainerSpec::new("shop/is-replaced")).unwrap();
    server.pause("shop/pauses").unwrap();
    server.remove("gone/1").unwrap();
    server.delete_namespace("gone").unwrap();
    server.run("new/1").unwrap();
    server.listen_again().unwrap();
    let mut told = watched.until_told("synced").await;
    told.sort();
    assert_eq!(
        told,
        [
            "exited goes",
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
async fn survivors_are_not_announced_again_however_often_the_connection_ends() {
    let server = Server::builder().start().unwrap();
    for nth in 0..10 {
        server.run(format!("n{}/c{nth}", nth % 3)).unwrap();
    }
    let mut watched = watch(&server).live().await;
    for _ in 0..5 {
        server.disconnect_all();
        let told = watched.told_all(2).await;
        assert!(told[0].starts_with("disconnected "), "{told:?}");
        assert_eq!(told[1], "synced 10");
    }
}
