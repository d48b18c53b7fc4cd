//! Connections that end, and what happened meanwhile.

use std::time::SystemTime;

use whalewatcher_core::EventKind;
use whalewatcher_testkit::cri::{ContainerSpec, Flavour, Method, PodSpec, Verdict};

use crate::watched::{assert_true, server, watch};

const ALL: [Flavour; 5] = [
    Flavour::Containerd1_6,
    Flavour::Containerd1_7,
    Flavour::Containerd2_1,
    Flavour::Crio,
    Flavour::CrioWithEvents,
];

#[tokio::test]
async fn a_runtime_that_is_killed_and_started_again_is_told_by_exactly_what_differs() {
    for flavour in ALL {
        let server = server(flavour);
        let pod = server.run_pod(PodSpec::new("a")).unwrap();
        server.run(&pod, "stays").unwrap();
        let goes = server.run(&pod, "goes").unwrap();
        let removed = server.run_pod(PodSpec::new("b").id("beef")).unwrap();
        server.run(&removed, "removed").unwrap();
        let mut watched = watch(&server).live().await;
        server.stop_listening().await;
        let lost = watched.told().await;
        assert!(lost.starts_with("disconnected "), "{lost}");
        server.exit(&goes, 1).unwrap();
        server.remove(&removed).unwrap();
        server.run(&pod, ContainerSpec::new("comes")).unwrap();
        let passing = server.run(&pod, "passing").unwrap();
        server.remove(&passing).unwrap();
        server.listen_again().unwrap();
        let mut told = watched.until_told("synced").await;
        told.sort();
        let expected = ["exited beef", "exited goes 1", "exited removed", "started comes", "synced 3"];
        assert_eq!(told, expected, "{flavour:?}");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn survivors_are_not_announced_again_however_often_the_connection_ends() {
    for flavour in ALL {
        let server = server(flavour);
        for nth in 0..3 {
            let pod = server.run_pod(PodSpec::new(format!("p{nth}"))).unwrap();
            server.run(&pod, "c").unwrap();
        }
        let mut watched = watch(&server).live().await;
        for _ in 0..4 {
            server.disconnect_all();
            let told = watched.told_all(2).await;
            assert!(told[0].starts_with("disconnected "), "{told:?}");
            assert_eq!(told[1], "synced 6", "{flavour:?}");
        }
    }
}

#[tokio::test]
async fn how_a_life_ended_meanwhile_is_asked_for_of_what_was_known_alone() {
    for (flavour, hangs) in ALL.into_iter().flat_map(|flavour| [(flavour, false), (flavour, true)]) {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let over = server.run(&pod, "over").unwrap();
        server.exit(&over, 1).unwrap();
        let web = server.run(&pod, "web").unwrap();
        let mut watched = watch(&server).live().await;
        server.stop_listening().await;
        server.exit(&web, 137).unwrap();
        let ended = SystemTime::now();
        let asked = server.stats();
        // An end is an end without them.
        server.on_call(move |call| match hangs && call.method() == Method::ContainerStatus {
            true => Verdict::Hang,
            false => Verdict::Pass,
        });
        server.listen_again().unwrap();
        assert!(watched.told().await.starts_with("disconnected "));
        let event = watched.next().await;
        let EventKind::Exited { container, code } = &event.kind else { panic!("{event}") };
        let expected = (!hangs).then_some(137);
        assert_eq!((container.name(), *code), ("web", expected), "{flavour:?}, hangs: {hangs}");
        assert!(expected.is_none() || event.time <= ended, "{event}");
        assert_eq!(watched.told().await, "synced 1");
        let requests = server.stats().requests;
        assert_eq!(
            requests.of_id(Method::ContainerStatus, &over),
            asked.requests.of_id(Method::ContainerStatus, &over)
        );
        assert!(requests.of_id(Method::ContainerStatus, &web) <= 2);
    }
}
