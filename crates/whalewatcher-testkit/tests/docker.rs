//! The Docker engine of the test kit, asked by bollard, and byte by byte where that hides what surprises clients.
//!
//! What hooks, losses, the ring and `since` do is proven by the tests of `whalewatcher-moby`, which fail without them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to panic, in its helpers too")]

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use bollard::models::ContainerStateStatusEnum::{PAUSED, RESTARTING};
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::TryStreamExt;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use whalewatcher_testkit::docker::{Clock, ContainerSpec, Error, Flavour, RestartPolicy, Server, Update};

fn bollard(server: &Server) -> Docker {
    Docker::connect_with_unix(&server.endpoint(), 10, API_DEFAULT_VERSION).unwrap()
}

/// The engine's time now, as `since` and `until` take it; later events have later times.
fn now(server: &Server) -> String {
    let now = server.clock().now();
    format!("{}.{:09}", now.as_second(), now.subsec_nanosecond())
}

/// All events since then, as `ACTION NAME`.
async fn past(server: &Server, since: &str, filters: &[(&str, &str)]) -> Vec<String> {
    let filters = filters.iter().map(|(key, value)| (*key, vec![*value])).collect::<HashMap<_, _>>();
    let options = EventsOptionsBuilder::new().since(since).until(&now(server)).filters(&filters).build();
    let events: Vec<_> = bollard(server).events(Some(options)).try_collect().await.unwrap();
    let words = |event: bollard::models::EventMessage| {
        let name = event.actor.unwrap().attributes.unwrap().remove("name").unwrap();
        format!("{} {name}", event.action.unwrap())
    };
    events.into_iter().map(words).collect()
}

async fn listed(server: &Server, filters: &[(&str, &str)]) -> Vec<ContainerSummary> {
    let filters = filters.iter().map(|(key, value)| (*key, vec![*value])).collect::<HashMap<_, _>>();
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    bollard(server).list_containers(Some(options)).await.unwrap()
}

async fn inspected(server: &Server, key: &str) -> Result<ContainerInspectResponse, bollard::errors::Error> {
    bollard(server).inspect_container(key, None::<InspectContainerOptions>).await
}

/// An answer that is read byte by byte.
struct Raw(BufReader<UnixStream>);

impl Raw {
    async fn ask(server: &Server, path: &str) -> Self {
        let mut stream = UnixStream::connect(server.socket()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// Returns the headers.
    async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).await.unwrap() > 0, "{head}");
        }
        head
    }

    /// Returns the next event as `ACTION NAME`, or nothing at the end of the connection.
    async fn event(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap_or(0) == 0 {
                return None;
            }
            // Other lines are those of chunks.
            if line.starts_with('{') {
                let event: Value = serde_json::from_str(&line).unwrap();
                let name = event["Actor"]["Attributes"]["name"].as_str().unwrap();
                return Some(format!("{} {name}", event["Action"].as_str().unwrap()));
            }
        }
    }
}

#[tokio::test]
async fn lives_are_reported_in_dockers_order_and_selected_by_filters() {
    let server = Server::builder().start().unwrap();
    let since = now(&server);
    let web = server.run(ContainerSpec::new("web").label("k", "v").health_check(true)).unwrap();
    server.pause(&web).unwrap();
    server.unpause(&web).unwrap();
    server.exec(&web).unwrap();
    server.health(&web, "healthy").unwrap();
    server.rename(&web, "shop").unwrap();
    server.update(&web, Update { labels: Some([("k".into(), "v".into())].into()) }).unwrap();
    // SIGUSR1 ends nothing.
    server.kill(&web, 10).unwrap();
    server.restart(&web).unwrap();
    server.run(ContainerSpec::new("rm").auto_remove(true)).unwrap();
    server.exit("rm", 7).unwrap();
    server.remove(&web).unwrap();
    let expected = [
        "create web, start web, pause web, unpause web",
        "exec_create: /bin/sh -c true web, exec_start: /bin/sh -c true web, exec_die web",
        "health_status: healthy web, rename shop, update shop, kill shop",
        "kill shop, stop shop, die shop, start shop, restart shop",
        "create rm, start rm, die rm, destroy rm, kill shop, die shop, destroy shop",
    ];
    assert_eq!(past(&server, &since, &[]).await.join(", "), expected.join(", "));
    for (filters, expected) in [
        (&[("type", "container"), ("event", "start")][..], "start web, start shop, start rm"),
        (&[("event", "exec_create")], "exec_create: /bin/sh -c true web"),
        (&[("container", web.as_str()), ("event", "die")], "die shop, die shop"),
        (&[("label", "k=v"), ("event", "destroy")], "destroy shop"),
        (&[("type", "network")], ""),
    ] {
        assert_eq!(past(&server, &since, filters).await.join(", "), expected, "{filters:?}");
    }
    assert!(server.truth().is_empty());
    assert!(matches!(server.start("rm"), Err(Error::NotFound(_))));
}

#[tokio::test]
async fn podmans_actions_have_its_order() {
    for (flavour, end) in [(Flavour::Podman, "die"), (Flavour::OldPodman, "died")] {
        let server = Server::builder().flavour(flavour).start().unwrap();
        let since = now(&server);
        server.run(ContainerSpec::new("web").auto_remove(true)).unwrap();
        server.restart("web").unwrap();
        server.exit("web", 0).unwrap();
        let reported = past(&server, &since, &[]).await.join(",").replace(" web", "");
        let expected = format!("create,init,start,restart,{end},cleanup,init,start,{end},cleanup,remove");
        assert_eq!(reported, expected);
    }
}

#[tokio::test]
async fn containers_are_listed_and_inspected_as_bollard_expects() {
    let server = Server::builder().api_versions("1.43", "1.24").start().unwrap();
    let docker = bollard(&server).negotiate_version().await.unwrap();
    assert_eq!(docker.client_version().to_string(), "1.43");
    let (version, info) = (docker.version().await.unwrap(), docker.info().await.unwrap());
    assert_eq!((version.min_api_version.as_deref(), info.id), (Some("1.24"), Some(server.id())));

    let spec = ContainerSpec::new("web").project("shop", "web").privileged(true).env("MODE", "fast");
    let spec = spec.port(80, 8080).port(9000, None).mount("/srv/data", "/data", true);
    let web = server.run(spec.network("back", Ipv4Addr::new(172, 18, 0, 2))).unwrap();
    server.run(ContainerSpec::new("loop").restart(RestartPolicy::Always)).unwrap();
    server.exit("loop", 1).unwrap();
    server.create("created").unwrap();
    server.pause(&web).unwrap();
    let names = |listed: Vec<ContainerSummary>| {
        listed.into_iter().map(|container| container.names.unwrap().remove(0)).collect::<Vec<_>>()
    };
    assert_eq!(names(listed(&server, &[]).await), ["/loop", "/web"], "a restart counts as running");
    assert_eq!(names(listed(&server, &[("status", "created")]).await), ["/created"]);
    let found = listed(&server, &[("label", "com.docker.compose.project=shop")]).await.remove(0);
    assert_eq!((found.id, found.status.unwrap().ends_with(" (Paused)")), (Some(web.clone()), true));

    for key in [&web, "web", &web[..20]] {
        let found = inspected(&server, key).await.unwrap();
        let state = found.state.unwrap();
        assert_eq!(state.status, Some(PAUSED));
        let truth = server.truth().remove(0);
        assert_eq!(
            (state.pid, state.started_at),
            (Some(truth.pid.into()), Some(truth.started_at.to_string()))
        );
        assert_eq!(found.host_config.unwrap().privileged, Some(true));
        let config = found.config.unwrap();
        assert_eq!(config.labels.unwrap()["com.docker.compose.project"], "shop");
        assert_eq!(config.env.unwrap()[0], "MODE=fast");
        let network = found.network_settings.unwrap();
        assert_eq!(network.networks.unwrap()["back"].ip_address.as_deref(), Some("172.18.0.2"));
        let ports = network.ports.unwrap();
        assert!(ports["9000/tcp"].is_none());
        assert_eq!(ports["80/tcp"].as_ref().unwrap()[0].host_port.as_deref(), Some("8080"));
        assert_eq!(found.mounts.unwrap()[0].destination.as_deref(), Some("/data"));
    }
    let state = inspected(&server, "loop").await.unwrap().state.unwrap();
    assert_eq!((state.status, state.running, state.pid), (Some(RESTARTING), Some(true), Some(0)));
    let missing = inspected(&server, "nothing").await.unwrap_err().to_string();
    assert!(missing.ends_with("404: No such container: nothing"), "{missing}");
}

#[tokio::test]
async fn headers_carry_the_engines_clock_and_versions() {
    let clock = Clock::stepped("2026-01-31T12:00:00.9Z".parse().unwrap());
    let server = Server::builder().clock(clock).start().unwrap();
    let head = Raw::ask(&server, "/_ping").await.head().await.to_lowercase();
    for header in
        ["api-version: 1.51", "server: docker/28.5.2 (linux)", "date: sat, 31 jan 2026 12:00:00 gmt"]
    {
        assert!(head.starts_with("http/1.1 200 ") && head.contains(&format!("{header}\r\n")), "{head}");
    }
    for (path, status) in [
        ("/v1.12/info", 400),
        ("/v1.100/info", 400),
        ("/images/json", 404),
        ("/events?since=yesterday", 400),
        ("/containers/json?filters=%7B", 400),
    ] {
        let head = Raw::ask(&server, path).await.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
    }
}

#[tokio::test]
async fn headers_precede_the_registration_and_podmans_come_with_the_first_event() {
    let server = Server::builder().start().unwrap();
    let gate = server.hold_registrations();
    let mut events = Raw::ask(&server, "/events").await;
    events.head().await;
    gate.until_waiting(1).await;
    server.create("lost").unwrap();
    gate.open();
    server.until_listeners(1).await;
    server.create("seen").unwrap();
    assert_eq!(events.event().await.unwrap(), "create seen");

    let server = Server::builder().flavour(Flavour::Podman).start().unwrap();
    let mut events = Raw::ask(&server, "/events").await;
    server.until_listeners(1).await;
    // Long enough for headers to arrive if there were any.
    Raw::ask(&server, "/_ping").await.head().await;
    let nothing = events.0.get_ref().try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    server.create("web").unwrap();
    events.head().await;
    assert_eq!(events.event().await.unwrap(), "create web");
    drop(events);
    server.until(|stats| stats.listeners == 0 && stats.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_too_slow_is_skipped_silently() {
    let server = Server::builder().listener_queue(2, Duration::from_millis(100)).start().unwrap();
    let mut events = Raw::ask(&server, "/events").await;
    server.until_listeners(1).await;
    let create = |numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| drop(server.create(format!("c{number}")).unwrap()));
    };
    create(0..10);
    for number in 0..10 {
        // Eight waited for room, and got it in time.
        assert_eq!(events.event().await.unwrap(), format!("create c{number}"));
    }
    create(10..20);
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!(server.skipped(), 8);
    create(20..21);
    for number in [10, 11, 20] {
        assert_eq!(events.event().await.unwrap(), format!("create c{number}"));
    }
}

#[tokio::test]
async fn an_engine_goes_comes_back_and_ends() {
    let server = Server::builder().tcp(true).start().unwrap();
    let (socket, since) = (server.socket(), now(&server));
    let port = server.tcp_endpoint().unwrap().replace("tcp://", "");
    server.run("web").unwrap();
    let mut events = Raw::ask(&server, "/events").await;
    server.until_listeners(1).await;
    server.stop_listening().await;
    assert!(!socket.exists() && TcpStream::connect(&port).await.is_err());
    events.head().await;
    assert!(events.event().await.is_none());
    server.listen_again().unwrap();
    assert_eq!(listed(&server, &[]).await.len(), 1);
    assert!(past(&server, &since, &[]).await.is_empty(), "it has forgotten them");
    TcpStream::connect(&port).await.unwrap();
    let taken = Server::builder().socket(&socket).start().unwrap_err();
    assert!(matches!(taken, Error::Listen { .. }));
    let mut idle = UnixStream::connect(&socket).await.unwrap();
    drop(server);
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn without_a_runtime_there_is_no_server() {
    assert!(matches!(Server::builder().start(), Err(Error::NoRuntime)));
}
