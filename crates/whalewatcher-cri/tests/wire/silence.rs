//! Missing events: lost ones, and streams or connections that are dead but look alive.

use std::time::Duration;

use whalewatcher_core::Settings;
use whalewatcher_cri::Client;
use whalewatcher_testkit::cri::{Fate, Flavour, Method, Reception, Server, Verdict};
use whalewatcher_testkit::proxy::{Fault, Proxy};

use crate::watched::{Watched, assert_true, client, in_time, lists, server, watch, watch_with_settings};

fn checked(server: &Server, limit: Duration) -> Watched {
    let settings = Settings::default().with_audits(None).with_probes(Duration::from_millis(20), limit);
    watch_with_settings(client(server), settings)
}

#[tokio::test]
async fn lost_events_are_made_up_for_by_an_audit() {
    let server = server(Flavour::Containerd2_1);
    let pod = server.run_pod("p").unwrap();
    let web = server.run(&pod, "web").unwrap();
    let settings =
        Settings::default().with_audits(Duration::from_millis(50)).with_probes(None, Duration::from_secs(60));
    let mut watched = watch_with_settings(client(&server), settings).live().await;
    server.on_event(|_| Fate::Vanish);
    server.exit(&web, 3).unwrap();
    server.run(&pod, "other").unwrap();
    let mut reported = watched.reported_all(2).await;
    reported.sort();
    assert_eq!(reported, ["exited web", "started other"]);
    let counters = watched.watching.status().counters;
    assert_eq!((counters.drifted, counters.connects), (2, 1));
    assert_true(&watched, &server);
}

#[tokio::test]
async fn a_quiet_runtime_is_asked_for_its_version_again_and_again_and_stays_connected() {
    for flavour in [Flavour::Containerd2_1, Flavour::Crio] {
        let server = server(flavour);
        let watched = checked(&server, Duration::from_secs(60)).live().await;
        in_time(server.until(|stats| stats.requests.of(Method::Version) >= 10)).await;
        assert_eq!(watched.watching.status().counters.connects, 1);
        assert!(watched.watching.status().is_live());
    }
}

#[tokio::test]
async fn a_runtime_that_hangs_is_noticed() {
    for flavour in [Flavour::Containerd2_1, Flavour::Crio] {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let mut watched = checked(&server, Duration::from_secs(1)).live().await;
        let hook = server.on_call(|_| Verdict::Hang);
        let reported = watched.reported().await;
        assert_eq!(reported, "disconnected probing the silent event stream: no answer within 1 s");
        server.remove_hook(hook);
        server.run(&pod, "web").unwrap();
        assert_eq!(watched.until_reported("synced").await.pop().unwrap(), "synced 2");
    }
}

#[tokio::test]
async fn a_replaced_socket_is_detected_though_the_old_runtime_answers() {
    let (minute, often) = (Duration::from_secs(60), Duration::from_millis(50));
    let neither = || Settings::default().with_audits(None).with_probes(None, minute);
    for (flavour, settings) in [
        (Flavour::Containerd2_1, neither().with_probes(often, minute)),
        (Flavour::Containerd2_1, neither().with_audits(often)),
        (Flavour::Containerd1_7, neither().with_probes(often, minute)),
        // Polling notices it too.
        (Flavour::Crio, neither()),
    ] {
        let server = server(flavour);
        server.run_pod("p").unwrap();
        let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
        let client = Client::builder().endpoint(proxy.endpoint()).poll_every(often).build().unwrap();
        let mut watched = watch_with_settings(client, settings).live().await;
        proxy.inject(Fault::replace_socket(false)).unwrap();
        let reported = watched.reported().await;
        let expected = format!("another socket is bound at {} now", proxy.endpoint());
        assert!(reported.starts_with("disconnected ") && reported.contains(&expected), "{reported}");
        assert_eq!(watched.reported().await, "synced 1", "{flavour:?}");
        assert_eq!(server.stats().accepted, 2);
    }
}

#[tokio::test]
async fn a_silent_connection_is_given_up() {
    let server = server(Flavour::Containerd2_1);
    server.run_pod("p").unwrap();
    server.receive(Reception::Silence);
    let limit = Duration::from_millis(300);
    let settings = Settings::default().with_limits(limit, limit, limit);
    let mut watched = watch_with_settings(client(&server), settings);
    assert_eq!(watched.reported().await, "disconnected connecting: no answer within 0.3 s");
    server.receive(Reception::Serve);
    assert_eq!(watched.until_reported("synced").await.pop().unwrap(), "synced 1");
}

#[tokio::test]
async fn a_malformed_event_causes_a_full_resync() {
    let server = server(Flavour::Containerd2_1);
    // The first event is whatever happens first once the subscription stands.
    let hook = server.on_answer(|call, _| match call.method() {
        Method::GetContainerEvents => Verdict::Garbage(vec![0x0a, 0xff].into()),
        _ => Verdict::Pass,
    });
    let mut watched = watch(&server).live().await;
    in_time(server.until(|stats| lists(stats).0 == 2)).await;
    let pod = server.run_pod("p").unwrap();
    let reported = watched.reported().await;
    let malformed = "disconnected RuntimeService.GetContainerEvents: the answer cannot be understood";
    assert!(reported.starts_with(malformed), "{reported}");
    server.remove_hook(hook);
    assert_eq!(watched.reported_all(2).await, [format!("started {pod}"), "synced 1".into()]);
    assert_eq!(watched.watching.status().counters.malformed, 1);
}
