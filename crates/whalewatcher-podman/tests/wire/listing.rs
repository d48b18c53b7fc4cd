//! What podman's list contains, and which containers are inspected.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use whalewatcher_podman::{
    Client, Container, Health, Network, PODMAN_INFRA_LABEL, PODMAN_POD_ID_LABEL, PODMAN_POD_NAME_LABEL, Port,
    Protocol,
};
use whalewatcher_testkit::docker::{Clock, ContainerSpec, Kind, Server, Verdict};
use whalewatcher_testkit::watched::Watched;

use crate::watched::{podman, run_before, watch};

/// Whether a time is in whole seconds.
fn is_whole(time: Option<SystemTime>) -> bool {
    time.unwrap().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() == 0
}

fn labels(container: &Container) -> Vec<(String, String)> {
    container.labels().iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn one_request_lists_everything() {
    let server = podman().start().unwrap();
    let spec = |number: u32| ContainerSpec::new(format!("c{number}")).label("number", number.to_string());
    let ids: Vec<_> = (0..20).map(|number| server.run(spec(number)).unwrap()).collect();
    run_before(&server, ContainerSpec::new("web").project("shop", "web").image("nginx"));
    server.pause(&ids[7]).unwrap();
    server.exit(&ids[8], 0).unwrap();
    let watched = watch(&server).live().await;
    let stats = server.stats().requests;
    // One shows that podman's own API answers.
    assert_eq!((stats.list, stats.inspect), (2, 0));
    for truth in server.truth() {
        let known = watched.container(&truth.name);
        assert_eq!((known.id().as_str(), known.pid(), known.paused()), (&*truth.id, truth.pid, truth.paused));
        assert_eq!(
            labels(&known),
            truth.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
        );
        let began = SystemTime::try_from(truth.started_at).unwrap();
        let since = began.duration_since(known.started_at().unwrap()).unwrap();
        assert!(since < Duration::from_secs(1) && is_whole(known.started_at()), "{known:?}");
        assert!(known.created_at().is_some_and(|created| created <= began));
    }
    assert_eq!(watched.names().len(), 20);
    let image = watched.container("web").image().cloned().unwrap();
    assert!(image.name() == "nginx" && image.id().unwrap().starts_with("sha256:"), "{image:?}");
}

#[tokio::test]
async fn containers_have_the_labels_of_their_pods() {
    let server = podman().start().unwrap();
    server.run(ContainerSpec::new("infra").pod("pool", true)).unwrap();
    run_before(&server, ContainerSpec::new("early").pod("pool", false).label("a", "b"));
    let mut watched = watch(&server).live().await;
    // Its pod is known from the list; that of the second one is not.
    server.run(ContainerSpec::new("late").pod("pool", false)).unwrap();
    assert_eq!(watched.reported().await, "started late");
    let lists = server.stats().requests.list;
    server.run(ContainerSpec::new("alone").pod("pond", true)).unwrap();
    assert_eq!(watched.reported().await, "started alone");
    assert_eq!(server.stats().requests.list, lists + 1);
    let pod = |name: &str| {
        let container = watched.container(name);
        let label = |key: &str| container.labels().get(key).map(str::to_owned);
        (label(PODMAN_POD_ID_LABEL), label(PODMAN_POD_NAME_LABEL), label(PODMAN_INFRA_LABEL))
    };
    let (id, pool, infra) = pod("early");
    assert!(id.as_ref().unwrap().len() == 64 && infra.is_none());
    assert_eq!(pool.as_deref(), Some("pool"));
    assert_eq!(pod("late"), (id.clone(), pool.clone(), None));
    assert_eq!(pod("infra"), (id, pool, Some(String::new())));
    let (_, pond, infra) = pod("alone");
    assert_eq!((pond.as_deref(), infra.as_deref()), (Some("pond"), Some("")));
    assert_eq!(watched.container("early").labels().get("a"), Some("b"));
}

#[tokio::test]
async fn a_brief_life_has_the_labels_of_its_pod() {
    let server = podman().start().unwrap();
    run_before(&server, ContainerSpec::new("infra").pod("pool", true));
    let mut watched = watch(&server).live().await;
    let gate = server.hold(Kind::Inspect);
    let brief = server.run(ContainerSpec::new("brief").pod("pool", false)).unwrap();
    server.remove(&brief).unwrap();
    gate.open();
    let started = watched.next().await.kind;
    let container = started.container().unwrap();
    assert_eq!(container.labels().get(PODMAN_POD_NAME_LABEL), Some("pool"), "{container:?}");
}

#[tokio::test]
async fn states_that_docker_lacks_are_decided_by_the_process() {
    let server = podman().start().unwrap();
    for (name, state) in [
        ("a", "stopping"),
        ("b", "initialized"),
        ("c", "configured"),
        ("d", "stopped"),
        ("e", "removing"),
        ("f", "paused"),
    ] {
        let id = server.run(name).unwrap();
        server.set_status(&id, state).unwrap();
    }
    // Not known to have no process, so it is inspected: that decides.
    let odd = run_before(&server, "odd");
    server.set_status(&odd, "levitating").unwrap();
    let watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["a", "f"]);
    assert!(watched.container("f").paused());
    assert_eq!(server.stats().requests.inspect, 1);
}

#[tokio::test]
async fn lists_contain_health_networks_and_published_ports() {
    let server = podman().start().unwrap();
    let spec = ContainerSpec::new("web").health_check(true).port(80, 8080).port(81, None);
    let web = run_before(&server, spec.network("pond", Ipv4Addr::new(10, 88, 0, 2)));
    server.health(&web, "healthy").unwrap();
    let known = watch(&server).live().await.container("web");
    assert_eq!(known.health(), Some(Health::Healthy));
    assert_eq!(known.networks(), [Network::new("pond")]);
    assert_eq!(known.ports(), [Port::new(80, Protocol::Tcp).published_at([0, 0, 0, 0].into(), 8080)]);

    let without = Client::builder().endpoint(server.endpoint()).without_networks().build().unwrap();
    let known = Watched::new(without).live().await.container("web");
    assert!(known.networks().is_empty() && known.ports().is_empty());
}

#[tokio::test]
async fn all_containers_are_inspected_on_request_and_for_rucksacks() {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        image_name: String,
    }
    let server = podman().start().unwrap();
    let spec = ContainerSpec::new("web").privileged(true).pod("pool", false).image("nginx");
    run_before(&server, spec.network("pond", Ipv4Addr::new(10, 88, 0, 2)));
    let builder = || Client::builder().endpoint(server.endpoint());
    let packed = builder().rucksack_json(|inspection| {
        let Inspected { image_name } = inspection.decode().ok()?;
        Some(Arc::new(image_name))
    });
    for client in [builder().inspect_all().build().unwrap(), packed.build().unwrap()] {
        let before = server.stats().requests.inspect;
        let watched = Watched::new(client).live().await;
        let known = watched.container("web");
        let pond = Network::new("pond").with_ipv4(Some(Ipv4Addr::new(10, 88, 0, 2)));
        assert!(known.privileged() && known.networks().contains(&pond), "{known:?}");
        let truth = SystemTime::try_from(server.truth()[0].started_at).unwrap();
        assert_eq!((known.started_at(), known.restart_count()), (Some(truth), Some(0)));
        assert_eq!(known.labels().get(PODMAN_POD_NAME_LABEL), Some("pool"));
        assert_eq!(server.stats().requests.inspect, before + 1);
        assert!(known.rucksack::<String>().is_none_or(|name| name == "nginx"));
    }
}

#[tokio::test]
async fn what_began_just_before_is_inspected() {
    let clock = Clock::stepped("2026-01-31T12:00:00.5Z".parse().unwrap());
    let server = podman().clock(clock).start().unwrap();
    run_before(&server, "old");
    server.run("young").unwrap();
    let watched = watch(&server).live().await;
    assert_eq!(server.stats().requests.inspect, 1);
    assert!(is_whole(watched.container("old").started_at()));
    let truth = server.truth().into_iter().find(|alive| alive.name == "young").unwrap().started_at;
    assert_eq!(watched.container("young").started_at(), Some(SystemTime::try_from(truth).unwrap()));
}

/// Answers the first list that is asked for completely with this.
fn first_list(server: &Server, body: &'static str) {
    let first = std::sync::atomic::AtomicBool::new(true);
    server.on_request(move |request| {
        let is_list = request.kind() == Kind::List && request.query("limit").is_none();
        if is_list && first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Verdict::Answer { status: 200, body: body.into() };
        }
        Verdict::Pass
    });
}

#[tokio::test]
async fn a_second_list_corrects_one_that_was_outdated() {
    let server = podman().start().unwrap();
    run_before(&server, "web");
    // podman emits an exit before its list shows it.
    first_list(&server, r#"[{"Id":"ghost","Names":["ghost"],"Pid":7,"State":"running","StartedAt":1}]"#);
    let mut watched = watch(&server);
    assert_eq!(watched.reported_all(2).await, ["started ghost", "synced 1"]);
    let mut reported = watched.reported_all(2).await;
    reported.sort();
    assert_eq!(reported, ["exited ghost", "started web"]);
}

#[tokio::test]
async fn a_malformed_entry_hides_no_other_and_is_inspected() {
    let server = podman().start().unwrap();
    let web = run_before(&server, "web");
    let body = format!(
        r#"[{{"Id":"{web}","Pid":"many"}},{{"Id":"","State":"running"}},{{"Id":"other","Names":["other"],
        "Pid":7,"State":"running","StartedAt":1,"Labels":null,"Ports":7,"Networks":{{}},"Created":"late","Restarts":-1}}]"#
    );
    first_list(&server, body.leak());
    let mut watched = watch(&server);
    let mut reported = watched.reported_all(3).await;
    reported.sort();
    assert_eq!(reported, ["started other", "started web", "synced 2"]);
}
