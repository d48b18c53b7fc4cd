//! Services of podman that end and start again.

use std::time::Duration;

use whalewatcher_podman::Client;
use whalewatcher_testkit::faulty::outages_end_at_once;

use crate::watched::{podman, run_before, watch};

#[tokio::test]
async fn a_service_that_ends_is_no_exit() {
    let server = podman().start().unwrap();
    let (stays, goes) = (run_before(&server, "stays"), run_before(&server, "goes"));
    let mut watched = watch(&server).live().await;
    let young = server.run("young").unwrap();
    assert_eq!(watched.reported().await, "started young");
    let known = ["stays", "young"].map(|name| watched.container(name));
    server.stop_listening().await;
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected "), "{reported}");
    assert_eq!(watched.names(), ["goes", "stays", "young"], "as last known");
    server.exit(&goes, 7).unwrap();
    server.run("comes").unwrap();
    server.clock().advance(Duration::from_secs(3600));
    server.listen_again().unwrap();
    let mut reported = watched.until_reported("synced").await;
    reported.sort();
    assert_eq!(reported, ["exited goes 7", "started comes", "synced 3"]);
    assert_eq!(["stays", "young"].map(|name| watched.container(name)), known);
    // What was listed then is still dated to the second, and everything else is not.
    server.rename(&stays, "still").unwrap();
    server.rename(&young, "old").unwrap();
    let mut reported = watched.reported_all(2).await;
    reported.sort();
    assert_eq!(reported, ["updated old", "updated still"]);
    let again = ["still", "old"].map(|name| watched.container(name).life());
    assert_eq!(again, known.map(|container| container.life()));
}

#[tokio::test]
async fn restarts_during_an_outage_are_other_lives() {
    let server = podman().start().unwrap();
    let web = run_before(&server, "web");
    let mut watched = watch(&server).live().await;
    server.stop_listening().await;
    assert!(watched.reported().await.starts_with("disconnected "));
    server.restart(&web).unwrap();
    server.listen_again().unwrap();
    let reported = watched.until_reported("synced").await;
    assert_eq!(reported, ["exited web", "started web", "synced 1"]);
}

#[tokio::test]
async fn a_service_that_listens_again_is_found_however_long_the_back_off_is() {
    let server = podman().start().unwrap();
    let stop = async || server.stop_listening().await;
    let client = Client::new(server.endpoint()).unwrap();
    outages_end_at_once(client, stop, || server.listen_again().unwrap()).await;
}
