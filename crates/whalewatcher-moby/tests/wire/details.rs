//! Image, health, networks, ports and OOM kills: from where they come, what keeps them current, and what that costs.

use std::net::Ipv4Addr;
use std::time::Duration;

use whalewatcher_core::{Container, EventKind, Health, Image, Settings};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{ContainerSpec, Fate, Flavour, Gate, RestartPolicy, Server, Verdict};

use crate::watched::{Watched, in_time, watch, watch_by, watch_with_settings};

const BACK: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
const FRONT: Ipv4Addr = Ipv4Addr::new(172, 19, 0, 2);

fn connected(name: &str) -> ContainerSpec {
    ContainerSpec::new(name).network_mode("bridge").network("back", BACK)
}

fn audited() -> Settings {
    Settings::default().with_audits(Duration::from_millis(50)).with_probes(None, Duration::from_secs(60))
}

/// The names and addresses of the networks.
fn networks(container: &Container) -> String {
    let shown = container.networks().iter().map(|network| match network.ipv4() {
        Some(address) => format!("{} {address}", network.name()),
        None => network.name().to_owned(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Returns the containers before and after the next event, which is an update.
async fn updated(watched: &mut Watched) -> (Container, Container) {
    let event = watched.next().await;
    let EventKind::Updated { container, was } = event.kind else { panic!("{event} is no update") };
    (Container::clone(&was), Container::clone(&container))
}

#[tokio::test]
async fn details_are_those_of_the_engine_and_audits_find_no_difference() {
    for flavour in [Flavour::Docker, Flavour::Podman] {
        let server = Server::builder().flavour(flavour).start().unwrap();
        let web = connected("web").image("nginx:1.27").port(80, 8080).port(9000, None).health_check(true);
        let web = server.run(web.restart(RestartPolicy::Always)).unwrap();
        server.exit(&web, 1).unwrap();
        server.start(&web).unwrap();
        server.health(&web, "healthy").unwrap();
        server.run("plain").unwrap();
        server.run(ContainerSpec::new("host").network_mode("host").port(80, 80)).unwrap();
        server.run(connected("paused").health_check(true)).unwrap();
        server.pause("paused").unwrap();
        let client = Client::new(server.endpoint()).unwrap();
        let watched = watch_with_settings(client, audited()).live().await;
        let stats = server.until(|stats| stats.requests.list >= 8).await;
        assert_eq!(stats.requests.inspect, 4, "{flavour:?}");
        assert_eq!(watched.watching.status().counters.drifted, 0);

        let web = watched.container("web");
        assert_eq!(web.image().map(Image::name), Some("nginx:1.27"));
        assert!(web.image().and_then(Image::id).is_some_and(|id| id.starts_with("sha256:")));
        assert_eq!(
            (web.health(), web.restart_count(), web.oom_killed()),
            (Some(Health::Healthy), Some(1), false)
        );
        assert!(web.created_at().is_some() && web.created_at() < web.started_at());
        assert_eq!(networks(&web), "back 172.18.0.2, bridge");
        let ports: Vec<_> = web.ports().iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["0.0.0.0:8080->80/tcp", "9000/tcp"]);
        let plain = watched.container("plain");
        assert_eq!((plain.health(), networks(&plain), plain.ports().len()), (None, "none".to_owned(), 0));
    }
}

#[tokio::test]
async fn health_is_followed_without_inspections() {
    let server = Server::builder().start().unwrap();
    let web = server.run(ContainerSpec::new("web").health_check(true)).unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(watched.container("web").health(), Some(Health::Starting));
    let inspections = server.stats().requests.inspect;
    let mut last = Health::Starting;
    for nth in 0..500 {
        let (text, health) = [("healthy", Health::Healthy), ("unhealthy", Health::Unhealthy)][nth % 2];
        server.exec(&web).unwrap();
        server.health(&web, text).unwrap();
        let (was, is) = updated(&mut watched).await;
        assert_eq!((was.health(), is.health()), (Some(last), Some(health)));
        last = health;
    }
    assert_eq!(server.stats().requests.inspect, inspections);
    assert_eq!(watched.container("web").health(), Some(Health::Unhealthy));
}

#[tokio::test]
async fn a_pause_ends_the_health_check() {
    let server = Server::builder().start().unwrap();
    let web = server.run(ContainerSpec::new("web").health_check(true)).unwrap();
    server.health(&web, "healthy").unwrap();
    let mut watched = watch(&server).live().await;
    server.pause(&web).unwrap();
    assert_eq!(watched.reported().await, "paused web");
    assert_eq!(updated(&mut watched).await.1.health(), Some(Health::Unhealthy));
    server.unpause(&web).unwrap();
    assert_eq!(watched.reported().await, "unpaused web");
    server.health(&web, "healthy").unwrap();
    let (was, is) = updated(&mut watched).await;
    assert_eq!((was.health(), is.health()), (Some(Health::Unhealthy), Some(Health::Healthy)));
}

#[tokio::test]
async fn the_result_of_podmans_health_probe_is_inspected_after_its_event() {
    let server = Server::builder().flavour(Flavour::Podman).version("4.3.1").start().unwrap();
    let web = server.run(ContainerSpec::new("web").health_check(true)).unwrap();
    let mut watched = watch(&server).live().await;
    let inspections = server.stats().requests.inspect;
    for _ in 0..3 {
        server.health(&web, "healthy").unwrap();
    }
    assert_eq!(updated(&mut watched).await.1.health(), Some(Health::Healthy));
    assert_eq!(server.stats().requests.inspect, inspections + 1);
}

#[tokio::test]
async fn networks_are_followed() {
    for flavour in [Flavour::Docker, Flavour::Podman] {
        let server = Server::builder().flavour(flavour).start().unwrap();
        let web = server.run(connected("web")).unwrap();
        let mut watched = watch(&server).live().await;
        let inspections = server.stats().requests.inspect;
        server.connect(&web, "front", FRONT).unwrap();
        let (was, is) = updated(&mut watched).await;
        assert_eq!(networks(&was), "back 172.18.0.2, bridge");
        assert_eq!(networks(&is), "back 172.18.0.2, bridge, front 172.19.0.2");
        server.disconnect(&web, "back").unwrap();
        assert_eq!(networks(&updated(&mut watched).await.1), "bridge, front 172.19.0.2");
        assert_eq!(server.stats().requests.inspect, inspections + 2, "{flavour:?}");
    }
}

#[tokio::test]
async fn the_networks_of_a_life_that_begins_or_ends_cost_no_inspection() {
    let server = Server::builder().start().unwrap();
    let other = server.run(connected("other")).unwrap();
    let mut watched = watch(&server).live().await;
    let web = server.run(connected("web")).unwrap();
    assert_eq!(watched.reported().await, "started web");
    server.restart(&web).unwrap();
    assert_eq!(watched.reported_all(2).await, ["exited web 143", "started web"]);
    server.exit(&web, 3).unwrap();
    assert_eq!(watched.reported().await, "exited web 3");
    // What is held back of `web` would be reported before this.
    server.disconnect(&other, "back").unwrap();
    assert_eq!(watched.reported().await, "updated other");
    assert_eq!(server.stats().requests.inspect, 1 + 2 + 1, "one of each life, and one of the disconnect");
}

#[tokio::test]
async fn an_audit_repairs_health_and_networks_if_events_are_lost() {
    let server = Server::builder().start().unwrap();
    server.run(connected("net")).unwrap();
    server.run(ContainerSpec::new("ill").health_check(true)).unwrap();
    let client = Client::new(server.endpoint()).unwrap();
    let mut watched = watch_with_settings(client, audited()).live().await;
    server.on_event(|_| Fate::Vanish);
    server.connect("net", "front", FRONT).unwrap();
    server.health("ill", "unhealthy").unwrap();
    let mut reported = watched.reported_all(2).await;
    reported.sort();
    assert_eq!(reported, ["updated ill", "updated net"]);
    assert_eq!(watched.watching.status().counters.drifted, 2);
}

#[tokio::test]
async fn networks_and_ports_can_be_left_out() {
    let server = Server::builder().start().unwrap();
    let web = server.run(connected("web").port(80, 8080)).unwrap();
    let filters = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let seen = filters.clone();
    server.on_request(move |request| {
        if request.path().ends_with("/events") {
            *seen.lock().unwrap() = request.query("filters").unwrap_or_default().to_owned();
        }
        Verdict::Pass
    });
    let client = Client::builder().endpoint(server.endpoint()).without_networks().build().unwrap();
    let mut watched = watch_by(client).live().await;
    let container = watched.container("web");
    assert_eq!((networks(&container), container.ports().len()), (String::new(), 0));
    server.connect(&web, "front", FRONT).unwrap();
    server.rename(&web, "www").unwrap();
    assert_eq!(watched.reported().await, "updated www");
    let filters = filters.lock().unwrap().clone();
    assert!(filters.contains("container") && !filters.contains("network"), "{filters}");
}

#[tokio::test]
async fn an_oom_kill_marks_the_life_and_its_exit() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    let inspections = server.stats().requests.inspect;
    server.oom(&web).unwrap();
    let (was, is) = updated(&mut watched).await;
    assert_eq!((was.oom_killed(), is.oom_killed()), (false, true));
    server.exit(&web, 137).unwrap();
    let exited = watched.next().await;
    assert!(matches!(exited.kind, EventKind::Exited { code: Some(137), .. }), "{exited}");
    assert!(exited.container().unwrap().oom_killed());
    assert_eq!(server.stats().requests.inspect, inspections, "none of this causes an inspection");
    server.start(&web).unwrap();
    assert_eq!(watched.reported().await, "started web");
    assert!(!watched.container("web").oom_killed(), "that was another life");
}

#[tokio::test]
async fn what_an_old_dockerd_says_of_oom_kills_is_about_the_former_life() {
    for (api, expected) in [("1.41", false), ("1.45", true)] {
        let server = Server::builder().api_versions(api, "1.24").start().unwrap();
        let web = server.run("web").unwrap();
        server.oom(&web).unwrap();
        assert_eq!(watch(&server).live().await.container("web").oom_killed(), expected, "{api}");
    }
}

#[tokio::test]
async fn a_missed_exit_for_lack_of_memory_is_marked() {
    for is_removed in [false, true] {
        let server = Server::builder().start().unwrap();
        let web = server.run("web").unwrap();
        let limits = [10, 600, 10].map(Duration::from_secs);
        let settings = Settings::default().with_limits(limits[0], limits[1], limits[2]);
        let mut watched = watch_with_settings(Client::new(server.endpoint()).unwrap(), settings).live().await;
        server.rename(&web, "www").unwrap();
        assert_eq!(watched.reported().await, "updated www");
        let gate = Gate::closed();
        let held = gate.clone();
        let hook = server.on_request(move |_| Verdict::Hold(held.clone()));
        server.disconnect_all();
        assert!(watched.reported().await.starts_with("disconnected "));
        in_time(gate.until_waiting(1)).await;
        server.oom(&web).unwrap();
        server.exit(&web, 137).unwrap();
        if is_removed {
            server.remove(&web).unwrap();
        }
        server.remove_hook(hook);
        gate.open();
        let exited = watched.next().await;
        assert!(matches!(exited.kind, EventKind::Exited { code: Some(137), .. }), "{exited}");
        assert!(exited.container().unwrap().oom_killed(), "removed: {is_removed}");
    }
}

#[tokio::test]
async fn a_life_that_is_over_before_its_inspection_has_its_image() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    let gate = server.hold(whalewatcher_testkit::docker::Kind::Inspect);
    let web = server.run(ContainerSpec::new("web").image("nginx:1.27").auto_remove(true)).unwrap();
    server.exit(&web, 0).unwrap();
    gate.open();
    let started = watched.next().await;
    assert_eq!(started.container().unwrap().image(), Some(&Image::new("nginx:1.27")));
}
