//! Engines that stop and start again.

use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::faulty::outages_end_at_once;

use crate::watched::{in_time, watch, watch_by};

#[tokio::test]
async fn an_engine_that_starts_later_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let mut watched = watch_by(Client::new(socket.to_str().unwrap()).unwrap());
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected no such socket"), "{reported}");
    let server = Server::builder().socket(&socket).start().unwrap();
    server.run("web").unwrap();
    let reported = watched.until_reported("synced").await;
    assert_eq!(reported, ["started web", "synced 1"]);
}

#[tokio::test]
async fn a_recreated_socket_is_found_and_the_difference_reported() {
    let server = Server::builder().start().unwrap();
    let (stays, goes, restarts) =
        (server.run("stays").unwrap(), server.run("goes").unwrap(), server.run("restarts").unwrap());
    let mut watched = watch(&server).live().await;
    let stayed = watched.container("stays");
    server.stop_listening().await;
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected "), "{reported}");
    assert_eq!(watched.names(), ["goes", "restarts", "stays"], "as last known");
    server.pause(&stays).unwrap();
    server.exit(&goes, 0).unwrap();
    server.restart(&restarts).unwrap();
    server.run("comes").unwrap();
    server.listen_again().unwrap();
    let mut reported = watched.until_reported("synced").await;
    reported.sort();
    let expected =
        ["exited goes 0", "exited restarts", "paused stays", "started comes", "started restarts", "synced 3"];
    assert_eq!(reported, expected);
    assert_eq!(watched.container("stays").life(), stayed.life());
}

#[tokio::test]
async fn an_engine_that_listens_again_is_found_however_long_the_back_off_is() {
    let server = Server::builder().start().unwrap();
    let stop = async || server.stop_listening().await;
    outages_end_at_once(Client::new(server.endpoint()).unwrap(), stop, || server.listen_again().unwrap())
        .await;
}

#[tokio::test]
async fn an_upgraded_engine_is_queried_in_its_new_version() {
    let server = Server::builder().version("20.10.24").api_versions("1.41", "1.12").start().unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(watched.watching.identity().unwrap().version, "20.10.24");
    server.stop_listening().await;
    server.set_version("29.0.0", "1.52", "1.44");
    server.listen_again().unwrap();
    watched.until_reported("synced").await;
    assert_eq!(watched.watching.identity().unwrap().version, "29.0.0");
}

#[tokio::test]
async fn an_engine_downgraded_too_far_is_reported_as_too_old() {
    let server = Server::builder().start().unwrap();
    let watched = watch(&server).live().await;
    let mut status = watched.watching.follow_status();
    server.stop_listening().await;
    server.set_version("19.03.15", "1.40", "1.12");
    server.listen_again().unwrap();
    let reason = "disconnected: Docker API 1.40 is too old";
    in_time(status.wait_for(|status| status.to_string().starts_with(reason))).await.expect("a watcher");
}
