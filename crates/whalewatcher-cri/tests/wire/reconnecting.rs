//! Reconnects, and changes during an outage.

use std::time::{Duration, SystemTime};

use whalewatcher_core::{EventKind, Settings};
use whalewatcher_cri::Client;
use whalewatcher_testkit::cri::{ContainerSpec, Flavour, Method, PodSpec, Stats, Verdict};
use whalewatcher_testkit::faulty::outages_end_at_once;
use whalewatcher_testkit::proxy::{Fault, Proxy, Refusal};

use crate::watched::{assert_true, client, in_time, server, watch, watch_with_settings};

const ALL: [Flavour; 5] = [
    Flavour::Containerd1_6,
    Flavour::Containerd1_7,
    Flavour::Containerd2_1,
    Flavour::Crio,
    Flavour::CrioWithEvents,
];

#[tokio::test]
async fn a_restarted_runtime_is_reported_by_the_exact_difference() {
    for flavour in ALL {
        let server = server(flavour);
        let pod = server.run_pod(PodSpec::new("a")).unwrap();
        server.run(&pod, "stays").unwrap();
        let goes = server.run(&pod, "goes").unwrap();
        let removed = server.run_pod(PodSpec::new("b").id("beef")).unwrap();
        server.run(&removed, "removed").unwrap();
        let mut watched = watch(&server).live().await;
        server.stop_listening().await;
        let lost = watched.reported().await;
        assert!(lost.starts_with("disconnected "), "{lost}");
        server.exit(&goes, 1).unwrap();
        server.remove(&removed).unwrap();
        server.run(&pod, ContainerSpec::new("comes")).unwrap();
        let passing = server.run(&pod, "passing").unwrap();
        server.remove(&passing).unwrap();
        server.listen_again().unwrap();
        let mut reported = watched.until_reported("synced").await;
        reported.sort();
        let expected = ["exited beef", "exited goes 1", "exited removed", "started comes", "synced 3"];
        assert_eq!(reported, expected, "{flavour:?}");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn an_oom_kill_during_an_outage_marks_the_exit() {
    for flavour in ALL {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.run(&pod, "web").unwrap();
        let mut watched = watch(&server).live().await;
        server.stop_listening().await;
        watched.reported().await;
        server.run_out_of_memory(&web).unwrap();
        server.exit(&web, 137).unwrap();
        server.listen_again().unwrap();
        let exited = watched.next().await;
        assert!(exited.container().unwrap().oom_killed(), "{flavour:?}: {exited}");
        assert_eq!(server.stats().requests.of_id(Method::ContainerStatus, &web), 2, "{flavour:?}");
    }
}

#[tokio::test]
async fn an_engine_that_listens_again_is_found_however_long_the_back_off_is() {
    let server = server(Flavour::Containerd2_1);
    let stop = async || server.stop_listening().await;
    outages_end_at_once(client(&server), stop, || server.listen_again().unwrap()).await;
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
            let reported = watched.reported_all(2).await;
            assert!(reported[0].starts_with("disconnected "), "{reported:?}");
            assert_eq!(reported[1], "synced 6", "{flavour:?}");
        }
    }
}

#[tokio::test]
async fn missed_exits_are_looked_up_for_known_lives_only() {
    let outages = [(false, false), (false, true), (true, false), (true, true)];
    for (flavour, (is_cut, hangs)) in
        ALL.into_iter().flat_map(|flavour| outages.map(|outage| (flavour, outage)))
    {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let over = server.run(&pod, "over").unwrap();
        server.exit(&over, 1).unwrap();
        let web = server.run(&pod, "web").unwrap();
        let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
        let client = Client::builder().endpoint(proxy.endpoint()).poll_every(Duration::from_millis(10));
        // Looking up exits may take a tenth of the time limit for lists.
        let (list, other) = (Duration::from_secs(5), Duration::from_secs(10));
        let settings = Settings::default().with_limits(other, list, other);
        let mut watched = watch_with_settings(client.build().unwrap(), settings).live().await;
        let refusal = proxy.inject(Fault::refuse(Refusal::Closed)).unwrap();
        match is_cut {
            true => proxy.cut_all(),
            false => server.stop_listening().await,
        }
        in_time(server.until(|stats| stats.open == 0)).await;
        server.exit(&web, 137).unwrap();
        let ended = SystemTime::now();
        let asked = server.stats();
        // Exits are reported without a code then.
        server.on_call(move |call| match hangs && call.method() == Method::ContainerStatus {
            true => Verdict::Hang,
            false => Verdict::Pass,
        });
        if !is_cut {
            server.listen_again().unwrap();
        }
        proxy.lift(refusal).unwrap();
        let mut event = watched.next().await;
        while matches!(event.kind, EventKind::Disconnected { .. }) {
            event = watched.next().await;
        }
        let EventKind::Exited { container, code } = &event.kind else { panic!("{event}") };
        // containerd 2.1 keeps events while there is no subscriber.
        let is_kept = is_cut && flavour == Flavour::Containerd2_1;
        let expected = (!hangs || is_kept).then_some(137);
        let outage = format!("{flavour:?}, cut: {is_cut}, hangs: {hangs}");
        assert_eq!((container.name(), *code), ("web", expected), "{outage}");
        assert!(expected.is_none() || event.time <= ended, "{outage}: {event}");
        assert_eq!(watched.reported().await, "synced 1", "{outage}");
        let asked_of = |id: &str| {
            let of = |stats: &Stats| stats.requests.of_id(Method::ContainerStatus, id);
            of(&server.stats()) - of(&asked)
        };
        assert_eq!((asked_of(&over), asked_of(&web)), (0, u64::from(!is_kept)), "{outage}");
    }
}
