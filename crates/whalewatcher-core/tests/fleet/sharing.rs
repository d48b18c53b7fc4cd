//! Containers that several engines of a host know.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, advance};
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{Container, EngineKey, EngineWatcher, EventKind, Fleet, Layer, SeenBy, Settings};

use crate::{LIMIT, Subscriber, key};

fn containerd() -> Engine {
    Engine::at("containerd").with_whole_lists(true).with_layer(Layer::Runtime, None)
}

fn docker(endpoint: &str) -> Engine {
    Engine::at(endpoint).with_layer(Layer::Engine, Some("moby"))
}

fn cri() -> Engine {
    Engine::at("cri").with_layer(Layer::Kubernetes, Some("k8s.io"))
}

/// An engine above containerd, and the namespace that it uses there.
struct Shared<'a> {
    above: &'a Engine,
    below: &'a Engine,
    namespace: &'a str,
}

impl Shared<'_> {
    fn start_below(&self, id: &str, pid: u32) {
        let id = format!("{}/{id}", self.namespace);
        self.below.start(Container::new(id.as_str(), id.as_str(), pid));
    }

    fn start_above(&self, id: &str, pid: u32) {
        self.above.start(Container::new(id, format!("name of {id}"), pid));
    }

    fn start(&self, id: &str, pid: u32) {
        self.start_below(id, pid);
        self.start_above(id, pid);
    }

    fn exit_below(&self, id: &str) {
        self.below.exit(&format!("{}/{id}", self.namespace), Some(7));
    }
}

async fn fleet(engines: &[&Engine]) -> (Fleet, Subscriber) {
    let fleet = Fleet::new();
    for engine in engines {
        fleet.add(EngineWatcher::new((*engine).clone())).expect("it is new");
        assert!(fleet.ready(LIMIT).await.is_complete());
    }
    let subscriber = Subscriber::new(&fleet);
    (fleet, subscriber)
}

/// Returns all containers, each as its ID and the endpoint of its engine.
fn shown(fleet: &Fleet) -> Vec<String> {
    let now = fleet.portfolio();
    let mut shown: Vec<_> = now
        .containers()
        .map(|(member, container)| format!("{} {}", container.id(), member.key().endpoint()))
        .collect();
    shown.sort();
    shown
}

#[tokio::test(start_paused = true)]
async fn what_two_engines_know_is_shown_by_the_higher_one_also_while_one_is_down() {
    let (docker, containerd) = (docker("docker"), containerd());
    let moby = Shared { above: &docker, below: &containerd, namespace: "moby" };
    moby.start("1", 1);
    containerd.start(Container::new("web", "web", 9));
    for order in [[&docker, &containerd], [&containerd, &docker]] {
        let (fleet, mut subscriber) = fleet(&order).await;
        assert_eq!(shown(&fleet), ["1 docker", "web containerd"]);
        for engine in order {
            let endpoint = if std::ptr::eq(engine, &docker) { "docker" } else { "containerd" };
            engine.refuse(whalewatcher_core::ErrorKind::Unreachable, "down");
            engine.disconnect();
            subscriber.until(&format!("disconnected {endpoint}")).await;
            assert_eq!(shown(&fleet), ["1 docker", "web containerd"]);
            engine.accept();
            assert_eq!(subscriber.until(&format!("synced {endpoint}")).await.len(), 1);
            assert_eq!(shown(&fleet), ["1 docker", "web containerd"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_joins_or_leaves_takes_its_containers_from_the_lower_one_and_gives_them_back() {
    let (docker, containerd) = (docker("docker"), containerd());
    let other = Shared { above: &docker, below: &containerd, namespace: "other" };
    other.start("1", 1);
    docker.start(Container::new("2", "2", 2));
    let (fleet, mut subscriber) = fleet(&[&containerd]).await;
    assert_eq!(shown(&fleet), ["other/1 containerd"]);
    fleet.add(EngineWatcher::new(docker.clone())).unwrap();
    let mut reported = subscriber.until("synced docker").await;
    reported.sort();
    assert_eq!(reported, ["joined docker", "moved 1", "started 2", "synced docker"]);
    assert_eq!(shown(&fleet), ["1 docker", "2 docker"]);
    assert_eq!(subscriber.fold, fleet.portfolio());

    fleet.remove(&key("docker"));
    let mut reported = subscriber.until("left docker").await;
    reported.sort();
    assert_eq!(reported, ["exited 2", "left docker", "moved other/1"]);
    assert_eq!(shown(&fleet), ["other/1 containerd"]);
    assert_eq!(subscriber.fold, fleet.portfolio());
    other.exit_below("1");
    assert_eq!(subscriber.until("exited other/1").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_life_has_one_start_and_one_exit_in_whatever_order_the_engines_report_it() {
    let (docker, containerd) = (docker("docker"), containerd());
    let moby = Shared { above: &docker, below: &containerd, namespace: "moby" };
    let (fleet, mut subscriber) = fleet(&[&docker, &containerd]).await;
    let mut pid = 0;
    for [below_starts_first, below_exits_first] in
        [[true, true], [true, false], [false, true], [false, false]]
    {
        pid += 1;
        if below_starts_first {
            moby.start_below("1", pid);
            settle(&fleet).await;
            assert_eq!(shown(&fleet), [""; 0], "it waits for the engine that knows more");
            moby.start_above("1", pid);
        } else {
            moby.start_above("1", pid);
            assert_eq!(subscriber.until("started 1").await, ["started 1"]);
            moby.start_below("1", pid);
            settle(&fleet).await;
        }
        if below_starts_first {
            assert_eq!(subscriber.until("started 1").await, ["started 1"]);
        }
        assert_eq!(shown(&fleet), ["1 docker"]);
        if below_exits_first {
            moby.exit_below("1");
            settle(&fleet).await;
            assert_eq!(shown(&fleet), ["1 docker"]);
            docker.exit("1", Some(7));
        } else {
            docker.exit("1", Some(7));
        }
        let exited = subscriber.next().await;
        assert_eq!(exited.to_string().split(' ').nth(3), Some("exited"), "{exited}");
        settle(&fleet).await;
        assert_eq!(shown(&fleet), [""; 0]);
        if !below_exits_first {
            moby.exit_below("1");
            settle(&fleet).await;
        }
        assert!(subscriber.changes.next().now_or_never().is_none(), "nothing is reported twice");
    }
}

/// Lets watchers and fleet handle what happened, without letting time pass.
async fn settle(fleet: &Fleet) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    fleet.ready(LIMIT).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_the_lower_engine_reports_first_is_one_exit_and_one_start() {
    let (docker, containerd) = (docker("docker"), containerd());
    let moby = Shared { above: &docker, below: &containerd, namespace: "moby" };
    moby.start("1", 1);
    let (fleet, mut subscriber) = fleet(&[&docker, &containerd]).await;
    moby.exit_below("1");
    moby.start_below("1", 2);
    settle(&fleet).await;
    docker.exit("1", Some(0));
    settle(&fleet).await;
    moby.start_above("1", 2);
    assert_eq!(subscriber.until("started 1").await, ["exited 1", "started 1"]);
    settle(&fleet).await;
    assert!(subscriber.changes.next().now_or_never().is_none());
    assert_eq!(shown(&fleet), ["1 docker"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_the_other_engine_does_not_report_is_shown_after_a_moment_or_when_that_is_lost() {
    let (docker, containerd) = (docker("docker"), containerd());
    let (fleet, mut subscriber) = fleet(&[&docker, &containerd]).await;
    let began = Instant::now();
    containerd.start(Container::new("moby/1", "1", 1));
    assert_eq!(subscriber.until("started moby/1").await, ["started moby/1"]);
    assert_eq!(began.elapsed().as_secs(), 3);
    containerd.start(Container::new("web", "web", 2));
    assert_eq!(subscriber.until("started web").await, ["started web"]);
    containerd.start(Container::new("moby/2", "2", 3));
    settle(&fleet).await;
    docker.disconnect();
    let lost = ["disconnected docker", "started moby/2"];
    assert_eq!(subscriber.until("started moby/2").await, lost);
    assert_eq!(began.elapsed().as_secs(), 3);
    // Its end while it waits is not reported, and neither is its start.
    subscriber.until("synced docker").await;
    containerd.start(Container::new("moby/4", "4", 4));
    settle(&fleet).await;
    containerd.exit("moby/4", None);
    settle(&fleet).await;
    advance(Duration::from_secs(10)).await;
    settle(&fleet).await;
    assert!(subscriber.changes.next().now_or_never().is_none());
    assert_eq!(subscriber.fold, fleet.portfolio());
}

#[tokio::test(start_paused = true)]
async fn a_life_that_one_engine_reports_after_its_end_was_announced_is_not_announced_again() {
    let (docker, containerd) = (docker("docker"), containerd());
    let other = Shared { above: &docker, below: &containerd, namespace: "other" };
    let (fleet, mut subscriber) = fleet(&[&docker, &containerd]).await;
    docker.hold(Call::Inspect, Moment::BeforeAnswering);
    other.start_above("1", 1);
    settle(&fleet).await;
    other.start_below("1", 1);
    other.exit_below("1");
    assert_eq!(subscriber.until("exited other/1").await, ["started other/1", "exited other/1"]);
    docker.release(Call::Inspect);
    settle(&fleet).await;
    docker.exit("1", Some(0));
    settle(&fleet).await;
    assert!(subscriber.changes.next().now_or_never().is_none());
    other.start_above("1", 2);
    assert_eq!(subscriber.until("started 1").await, ["started 1"]);
    assert_eq!(subscriber.fold, fleet.portfolio());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_learned_from_the_first_container_that_both_know() {
    let (docker, containerd) = (docker("docker"), containerd());
    let other = Shared { above: &docker, below: &containerd, namespace: "other" };
    let (fleet, mut subscriber) = fleet(&[&docker, &containerd]).await;
    other.start_below("1", 1);
    settle(&fleet).await;
    other.start_above("1", 1);
    assert_eq!(subscriber.until("moved 1").await, ["started other/1", "moved 1"]);
    other.start_below("2", 2);
    settle(&fleet).await;
    other.start_above("2", 2);
    assert_eq!(subscriber.until("started 2").await, ["started 2"]);
    assert_eq!(shown(&fleet), ["1 docker", "2 docker"]);
}

#[tokio::test(start_paused = true)]
async fn two_dockerds_on_one_containerd_and_engines_of_other_hosts_are_distinguished() {
    let (one, two, containerd) = (docker("one"), docker("two"), containerd());
    let elsewhere = docker("tcp://whale:2375");
    for (engine, id, pid) in [(&one, "1", 1), (&two, "2", 2)] {
        Shared { above: engine, below: &containerd, namespace: "moby" }.start(id, pid);
    }
    elsewhere.start(Container::new("1", "1", 1));
    let (fleet, mut subscriber) = fleet(&[&containerd, &one, &elsewhere, &two]).await;
    assert_eq!(shown(&fleet), ["1 one", "1 tcp://whale:2375", "2 two"]);
    fleet.remove(&key("one"));
    assert_eq!(subscriber.until("left one").await, ["moved moby/1", "left one"]);
    assert_eq!(shown(&fleet), ["1 tcp://whale:2375", "2 two", "moby/1 containerd"]);
}

#[tokio::test(start_paused = true)]
async fn of_three_engines_the_highest_shows_it() {
    let (docker, containerd, cri) = (docker("docker"), containerd(), cri());
    Shared { above: &docker, below: &containerd, namespace: "moby" }.start("1", 1);
    cri.start(Container::new("1", "app", 1));
    let (fleet, mut subscriber) = fleet(&[&containerd, &docker, &cri]).await;
    assert_eq!(shown(&fleet), ["1 cri"]);
    fleet.remove(&EngineKey::new("scripted", "cri"));
    assert_eq!(subscriber.until("left cri").await, ["moved 1", "left cri"]);
    assert_eq!(shown(&fleet), ["1 docker"]);
    docker.exit("1", Some(0));
    assert_eq!(subscriber.until("exited 1").await.len(), 1);
    settle(&fleet).await;
    assert!(subscriber.changes.next().now_or_never().is_none());
    assert_eq!(shown(&fleet), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn another_engine_that_takes_over_an_endpoint_ends_no_life() {
    let (docker, containerd) = (docker("docker"), containerd());
    docker.set_id("first");
    Shared { above: &docker, below: &containerd, namespace: "moby" }.start("1", 1);
    let (fleet, mut subscriber) = fleet(&[&docker, &containerd]).await;
    docker.be_silent(true);
    docker.exit("1", None);
    docker.be_silent(false);
    docker.set_id("second");
    docker.disconnect();
    assert_eq!(
        subscriber.until("synced docker").await,
        ["disconnected docker", "moved moby/1", "synced docker"]
    );
    assert_eq!(shown(&fleet), ["moby/1 containerd"]);

    // Also if the lower engine reports a life only then.
    docker.start(Container::new("2", "2", 2));
    assert_eq!(subscriber.until("started 2").await.len(), 1);
    docker.be_silent(true);
    docker.exit("2", None);
    docker.be_silent(false);
    docker.set_id("third");
    docker.disconnect();
    subscriber.until("exited 2").await;
    containerd.start(Container::new("moby/2", "2", 2));
    subscriber.until("started moby/2").await;
    assert_eq!(shown(&fleet), ["moby/1 containerd", "moby/2 containerd"]);
}

#[tokio::test(start_paused = true)]
async fn a_life_that_two_watchers_witness_ends_once_with_the_code_of_the_engine_that_shows_it() {
    for [above_is_silent, below_is_silent] in [[false, false], [false, true], [true, false], [true, true]] {
        let (docker, containerd) = (docker("docker"), containerd());
        let moby = Shared { above: &docker, below: &containerd, namespace: "moby" };
        moby.start("1", 1);
        let fleet = Fleet::new();
        for engine in [&docker, &containerd] {
            let settings = Settings::default().with_witness(engine.witness());
            fleet.add(EngineWatcher::with_settings(engine.clone(), settings)).unwrap();
        }
        assert!(fleet.ready(LIMIT).await.is_complete());
        let mut subscriber = Subscriber::new(&fleet);
        docker.be_silent(above_is_silent);
        containerd.be_silent(below_is_silent);
        moby.exit_below("1");
        docker.exit("1", Some(7));
        let end = subscriber.next().await.event;
        let EventKind::Exited { code, .. } = end.kind else { panic!("{end}") };
        let expected = if above_is_silent { (None, SeenBy::Kernel) } else { (Some(7), SeenBy::Engine) };
        assert_eq!((code, end.seen_by), expected);
        // Nothing follows of it, also from audits.
        docker.be_silent(false);
        containerd.be_silent(false);
        tokio::time::sleep(Duration::from_secs(180)).await;
        moby.start("2", 2);
        let seen = subscriber.until("started 2").await;
        assert!(!seen.iter().any(|line| line.ends_with('1')), "{seen:?}");
        assert_eq!(shown(&fleet), ["2 docker"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_lags_receives_what_moved() {
    let (docker, containerd) = (docker("docker"), containerd());
    Shared { above: &docker, below: &containerd, namespace: "moby" }.start("1", 1);
    let fleet = Fleet::with_subscriber_queue(1);
    fleet.add(EngineWatcher::new(containerd.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let mut subscriber = Subscriber::new(&fleet);
    fleet.add(EngineWatcher::new(docker.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    for _ in 0..5 {
        docker.disconnect();
        settle(&fleet).await;
    }
    let expected = ["joined docker", "lagged docker", "moved 1", "synced docker"];
    assert_eq!(subscriber.until("synced docker").await, expected);
    for _ in 0..5 {
        docker.disconnect();
        settle(&fleet).await;
    }
    fleet.remove(&key("docker"));
    assert_eq!(subscriber.until("left docker").await, ["lagged containerd", "moved moby/1", "left docker"]);
    assert_eq!(subscriber.fold, fleet.portfolio());
}
