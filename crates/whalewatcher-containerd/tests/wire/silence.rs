//! Missing events: lost ones, and streams or connections that are dead but look alive.

use std::time::Duration;

use whalewatcher_containerd::Client;
use whalewatcher_core::Settings;
use whalewatcher_testkit::containerd::{Code, ContainerSpec, Fate, Method, Server, Verdict};
use whalewatcher_testkit::proxy::{Fault, Proxy};

use crate::watched::{Watched, assert_true, in_time, watch, watch_with_settings};

fn audited(server: &Server) -> Watched {
    let settings =
        Settings::default().with_audits(Duration::from_millis(50)).with_probes(None, Duration::from_secs(60));
    watch_with_settings(Client::new(server.endpoint()).unwrap(), settings)
}

/// The silence before the stream is probed.
const SILENCE: Duration = Duration::from_millis(20);

/// Each probe publishes an event.
fn checked(server: &Server, limit: Duration) -> Watched {
    let settings = Settings::default().with_audits(None).with_probes(SILENCE, limit);
    let client = Client::builder().endpoint(server.endpoint()).probe_every(SILENCE);
    watch_with_settings(client.build().unwrap(), settings)
}

#[tokio::test]
async fn lost_events_are_made_up_for_by_an_audit() {
    let server = Server::builder().start().unwrap();
    for id in ["exits", "a/paused", "b/renamed", "stays"] {
        server.run(id).unwrap();
    }
    let mut watched = audited(&server).live().await;
    server.on_event(|_| Fate::Vanish);
    server.exit("exits", 3).unwrap();
    server.pause("a/paused").unwrap();
    server.set_label("b/renamed", "nerdctl/name", Some("other")).unwrap();
    server.run("starts").unwrap();
    let mut reported = watched.reported_all(4).await;
    reported.sort();
    assert_eq!(reported, ["exited exits", "paused a/paused", "started starts", "updated b/other"]);
    let counters = watched.watching.status().counters;
    assert_eq!((counters.drifted, counters.connects), (4, 1));
    assert_true(&watched, &server);
}

#[tokio::test]
async fn an_audit_of_a_true_picture_costs_a_list_and_announces_nothing() {
    let server = Server::builder().start().unwrap();
    for nth in 0..20 {
        server.run(format!("n{}/c{nth}", nth % 2)).unwrap();
    }
    let mut watched = audited(&server).live().await;
    // What an inspection returns agrees with the lists that follow.
    let ports = r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"}]"#;
    let web = ContainerSpec::new("web").nerdctl_name("web").label("nerdctl/ports", ports);
    server.run(web.label("nerdctl/networks", r#"["shop"]"#)).unwrap();
    assert_eq!(watched.reported().await, "started web");
    let listed = server.stats().requests.of(Method::NamespacesList);
    let stats = in_time(server.until(|stats| stats.requests.of(Method::NamespacesList) >= listed + 8)).await;
    assert_eq!((stats.requests.of(Method::TasksGet), stats.requests.of(Method::ContainersGet)), (1, 1));
    assert_eq!(watched.watching.status().counters.drifted, 0);
}

#[tokio::test]
async fn a_stream_that_is_dead_while_the_engine_answers_is_noticed() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = checked(&server, Duration::from_secs(1)).live().await;
    let gate = server.stall_streams();
    server.exit("web", 0).unwrap();
    let reported = watched.reported().await;
    assert_eq!(reported, "disconnected probing the silent event stream: no answer within 1 s");
    gate.open();
    assert_eq!(watched.until_reported("synced").await.pop().unwrap(), "synced 0");
}

#[tokio::test]
async fn a_quiet_engine_is_asked_again_and_again_and_stays_connected() {
    let server = Server::builder().start().unwrap();
    let watched = checked(&server, Duration::from_secs(60)).live().await;
    let published = server.stats().requests.of(Method::Publish);
    in_time(server.until(|stats| stats.requests.of(Method::Publish) >= published + 10)).await;
    let counters = watched.watching.status().counters;
    assert_eq!((counters.connects, counters.events), (1, 0));
    assert!(watched.watching.status().is_live());
}

#[tokio::test]
async fn probes_are_invisible_to_others_unless_the_silence_is_long() {
    let server = Server::builder().start().unwrap();
    let settings = Settings::default().with_audits(None).with_probes(SILENCE, Duration::from_secs(60));
    let watched = watch_with_settings(Client::new(server.endpoint()).unwrap(), settings).live().await;
    let published = server.stats().requests.of(Method::Publish);
    let stats = in_time(server.until(|stats| stats.requests.of(Method::Version) >= 10)).await;
    assert_eq!(stats.requests.of(Method::Publish), published);
    assert_eq!(watched.watching.status().counters.connects, 1);
}

#[tokio::test]
async fn a_replaced_socket_is_detected_though_the_old_engine_answers() {
    let (minute, often) = (Duration::from_secs(60), Duration::from_millis(50));
    for settings in [
        Settings::default().with_audits(None).with_probes(often, minute),
        Settings::default().with_audits(often).with_probes(None, minute),
    ] {
        let server = Server::builder().start().unwrap();
        server.run("web").unwrap();
        let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
        let client = Client::new(proxy.endpoint()).unwrap();
        let mut watched = watch_with_settings(client, settings).live().await;
        proxy.inject(Fault::replace_socket(false)).unwrap();
        let reported = watched.reported().await;
        let expected = format!("another socket is bound at {} now", proxy.endpoint());
        assert!(reported.starts_with("disconnected ") && reported.contains(&expected), "{reported}");
        assert_eq!(watched.reported().await, "synced 1");
        assert_eq!(server.stats().accepted, 2);
    }
}

#[tokio::test]
async fn where_publishing_is_refused_probes_ask_for_the_version() {
    let server = Server::builder().start().unwrap();
    server.on(Method::Publish, Verdict::error(Code::PermissionDenied, "not you"));
    let mut watched = checked(&server, Duration::from_secs(1)).live().await;
    in_time(server.until(|stats| stats.requests.of(Method::Version) >= 10)).await;
    assert_eq!(watched.watching.status().counters.connects, 1);
    server.on_call(|call| if call.method() == Method::Version { Verdict::Hang } else { Verdict::Pass });
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected probing the silent event stream"), "{reported}");
}

#[tokio::test]
async fn a_malformed_event_causes_a_full_resync() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    server.emit("default", "/tasks/start", "containerd.events.TaskStart", [0x0a, 0xff]);
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected an event of type containerd.events.TaskStart"), "{reported}");
    assert_eq!(watched.reported().await, "synced 1", "nothing has changed");
    assert_eq!(watched.watching.status().counters.malformed, 1);
    // Unknown events are skipped.
    server.emit("default", "/tasks/start", "containerd.events.TaskLevitated", [0x0a, 0xff]);
    server.exit("web", 0).unwrap();
    assert_eq!(watched.reported().await, "exited web 0");
}
