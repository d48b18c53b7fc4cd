//! Connections that end, and what happened meanwhile.

use whalewatcher_testkit::cri::{ContainerSpec, Flavour, PodSpec};

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
        let expected = ["exited beef", "exited goes", "exited removed", "started comes", "synced 3"];
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
