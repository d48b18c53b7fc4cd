//! Lists: of many containers, with failing namespaces, and with malformed content.

use std::time::Duration;

use futures_util::FutureExt;
use prost::Message;
use whalewatcher_api::containerd::services::tasks::v1::GetResponse;
use whalewatcher_api::containerd::v1::types::{Process, Status};
use whalewatcher_containerd::Client;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{ErrorKind, Settings};
use whalewatcher_testkit::containerd::{Call, Code, ContainerSpec, Method, Server, Verdict};

use crate::watched::{Watched, assert_true, in_time, watch, watch_by, watch_with_settings};

/// Returns a hook with this verdict for a method in one namespace.
fn treating(namespace: &'static str, method: Method, verdict: Verdict) -> impl Fn(&Call) -> Verdict {
    move |call| {
        if call.method() == method && call.namespace() == Some(namespace) {
            verdict.clone()
        } else {
            Verdict::Pass
        }
    }
}

fn unlisted(watched: &Watched) -> Vec<(String, String)> {
    let unlisted = watched.watching.status().unlisted;
    unlisted.into_iter().map(|part| (part.scope, part.error.to_string())).collect()
}

#[tokio::test]
async fn two_thousand_containers_in_one_namespace_are_listed_one_by_one() {
    let server = Server::builder().start().unwrap();
    for nth in 0..2_000 {
        server.run(format!("many/c{nth}")).unwrap();
    }
    let watched = watch(&server).live().await;
    assert_true(&watched, &server);
    let requests = server.stats().requests;
    assert_eq!((requests.of(Method::ContainersListStream), requests.of(Method::ContainersList)), (1, 0));
    assert_eq!((requests.of(Method::ContainersGet), requests.of(Method::TasksGet)), (0, 0));
}

#[tokio::test]
async fn a_server_that_cannot_stream_lists_all_at_once_beyond_16_mib() {
    let server = Server::builder().largest_message(64 << 20).start().unwrap();
    server.on(Method::ContainersListStream, Verdict::error(Code::Unimplemented, "unknown method ListStream"));
    for nth in 0..2_000 {
        server.run(format!("many/c{nth}")).unwrap();
    }
    let watched = watch(&server).live().await;
    assert_true(&watched, &server);
    assert_eq!(server.stats().requests.of(Method::ContainersList), 1);
}

#[tokio::test]
async fn only_live_containers_are_requested() {
    let server = Server::builder().start().unwrap();
    for nth in 0..200 {
        server.create(format!("many/c{nth}")).unwrap();
        server.create(format!("none/c{nth}")).unwrap();
    }
    server.start("many/c7").unwrap();
    let asked = server.arrival(|call| call.method() == Method::ContainersListStream);
    let watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["many/c7"]);
    assert_eq!(in_time(asked).await.filters(), ["id==\"c7\""]);
    assert_eq!(
        server.stats().requests.of(Method::ContainersListStream),
        1,
        "a namespace without tasks is not listed"
    );
}

#[tokio::test]
async fn a_failed_namespace_hides_no_other_and_is_retried() {
    for (method, verdict, error) in [
        (Method::TasksList, Verdict::error(Code::Unavailable, "out of luck"), "Tasks.List: out of luck"),
        (Method::ContainersListStream, Verdict::error(Code::Internal, "a bug"), "Containers.List: a bug"),
        (Method::TasksList, Verdict::Garbage(vec![0x0a, 0xff].into()), "cannot be understood"),
        (Method::ContainersListStream, Verdict::Garbage(vec![0x0a, 0xff].into()), "cannot be understood"),
    ] {
        let server = Server::builder().start().unwrap();
        for id in ["good/1", "bad/1", "bad/2"] {
            server.run(id).unwrap();
        }
        let hook = server.on_call(treating("bad", method, verdict));
        let mut watched = watch(&server);
        assert_eq!(watched.reported().await, "started good/1");
        in_time(server.until(|stats| stats.requests.of(Method::NamespacesList) >= 4)).await;
        assert!(watched.watching.ready().now_or_never().is_none(), "not all is known");
        let [(namespace, why)] = unlisted(&watched).try_into().unwrap();
        assert!(namespace == "bad" && why.contains(error), "{namespace}: {why}");
        // Its events are reported nevertheless.
        server.exit("bad/2", 0).unwrap();
        server.run("bad/3").unwrap();
        assert_eq!(watched.reported().await, "started bad/3");
        server.remove_hook(hook);
        assert_eq!(watched.reported_all(2).await, ["started bad/1", "synced 3"]);
        assert_eq!(unlisted(&watched), []);
        assert_true(&watched, &server);
        assert_eq!(server.stats().accepted, 1, "on one connection");
    }
}

#[tokio::test]
async fn containers_of_a_failed_namespace_are_not_exited() {
    let server = Server::builder().start().unwrap();
    for id in ["good/1", "good/2", "bad/1", "bad/2"] {
        server.run(id).unwrap();
    }
    let mut watched = watch(&server).live().await;
    server.stop_listening().await;
    server.exit("good/1", 0).unwrap();
    server.exit("bad/1", 0).unwrap();
    let hook = server.on_call(treating("bad", Method::TasksList, Verdict::error(Code::Unknown, "no")));
    server.listen_again().unwrap();
    watched.until_reported("exited good/1").await;
    in_time(server.until(|stats| stats.requests.of(Method::NamespacesList) >= 4)).await;
    assert_eq!(watched.names(), ["bad/1", "bad/2", "good/2"]);
    server.remove_hook(hook);
    assert_eq!(watched.reported_all(2).await, ["exited bad/1 0", "synced 2"], "exactly what differs");
}

#[tokio::test]
async fn a_namespace_that_hangs_hides_no_other() {
    let server = Server::builder().start().unwrap();
    server.run("good/1").unwrap();
    server.run("bad/1").unwrap();
    let hook = server.on_call(treating("bad", Method::TasksList, Verdict::Hang));
    // A third of the time limit for the whole list.
    let (list, other) = (Duration::from_secs(3), Duration::from_secs(10));
    let settings = Settings::default().with_limits(other, list, other);
    let mut watched = watch_with_settings(Client::new(server.endpoint()).unwrap(), settings);
    assert_eq!(watched.reported().await, "started good/1");
    assert_eq!(unlisted(&watched), [("bad".to_owned(), "no answer within 1 s".to_owned())]);
    server.remove_hook(hook);
    // The next attempt may have begun before that.
    let reported = watched.reported_all(2).await;
    assert_eq!(reported, ["started bad/1", "synced 2"]);
}

#[tokio::test]
async fn a_container_without_room_is_unresolved_and_hides_no_other() {
    let server = Server::builder().start().unwrap();
    // With room for 192 KiB of names and labels.
    for id in ["many/1", "many/2", "many/3", "many/4"] {
        server.run(ContainerSpec::new(id).label("long", "x".repeat(50 * 1024))).unwrap();
    }
    server.run("many/small").unwrap();
    let client = Client::builder().endpoint(server.endpoint()).memory(1024 * 1024);
    let mut watched = watch_by(client.build().unwrap()).live().await;
    let names = watched.names();
    assert!(names.len() == 4 && names.contains(&"many/small".to_owned()), "{names:?}");
    let status = watched.watching.status();
    assert!(status.unlisted.is_empty() && status.unresolved.total() == 1, "{status}");
    let unresolved = status.unresolved.containers()[0].clone();
    let why = unresolved.error.to_string();
    assert!(why.contains("take more than 196608 bytes; the client can be configured"), "{why}");
    let gone = names.iter().find(|name| *name != "many/small").unwrap();
    server.exit(gone, 0).unwrap();
    let reported = watched.reported_all(2).await;
    assert_eq!(reported, [format!("exited {gone} 0"), format!("started {}", unresolved.id)]);
    assert_eq!(watched.watching.status().unresolved.total(), 0);
    assert_true(&watched, &server);
}

#[tokio::test]
async fn ignored_namespaces_that_hang_do_not_delay_a_list_for_long() {
    let server = Server::builder().start().unwrap();
    let ignored: Vec<_> = (0..24).map(|nth| format!("ignored-{nth}")).collect();
    for namespace in &ignored {
        server.create_namespace(namespace);
    }
    server.on_call(|call| if call.method() == Method::TasksList { Verdict::Hang } else { Verdict::Pass });
    let client = Client::builder().endpoint(server.endpoint()).ignored_namespaces(ignored).build().unwrap();
    let (list, other) = (Duration::from_secs(5), Duration::from_secs(10));
    let settings = Settings::default().with_limits(other, list, other);
    let mut watched = watch_with_settings(client, settings);
    assert_eq!(watched.reported().await, "synced 0");
}

#[tokio::test]
async fn a_namespace_that_vanishes_before_it_is_listed_is_no_error() {
    let server = Server::builder().start().unwrap();
    server.run("good/1").unwrap();
    server.run("gone/1").unwrap();
    for method in [Method::TasksList, Method::ContainersListStream] {
        let hook = server.on_call(treating("gone", method, Verdict::error(Code::NotFound, "namespace gone")));
        let watched = watch(&server).live().await;
        assert_eq!(watched.names(), ["good/1"]);
        server.remove_hook(hook);
    }
}

#[tokio::test]
async fn ignored_namespaces_with_tasks_are_known_if_nothing_else_is_alive() {
    for (alive, over, hangs, expected) in [
        (&["moby/1", "k8s.io/1"][..], &[][..], None, &["k8s.io", "moby"][..]),
        (&["moby/1"], &["k8s.io/1"], None, &["moby"]),
        (&["moby/1", "shop/1"], &[], None, &[]),
        (&["moby/1", "k8s.io/1"], &[], Some("moby"), &["k8s.io"]),
        (&[], &[], None, &[]),
    ] {
        let server = Server::builder().start().unwrap();
        for id in alive.iter().chain(over) {
            server.run(*id).unwrap();
        }
        for id in over {
            server.exit(id, 0).unwrap();
        }
        if let Some(namespace) = hangs {
            server.on_call(treating(namespace, Method::TasksList, Verdict::Hang));
        }
        let client = Client::new(server.endpoint()).unwrap();
        let _watched = Watched::new(client.clone()).live().await;
        assert_eq!(client.ignored_with_tasks(), expected, "{alive:?}");
    }
}

#[tokio::test]
async fn without_a_list_of_namespaces_nothing_is_listed() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let hook = server.on(Method::NamespacesList, Verdict::error(Code::Internal, "no"));
    let mut watched = watch(&server);
    assert_eq!(watched.reported().await, "disconnected containerd fails Namespaces.List: no");
    server.remove_hook(hook);
    assert_eq!(watched.until_reported("synced").await.pop().unwrap(), "synced 1");
}

#[tokio::test]
async fn a_connection_lost_within_a_list_is_no_failed_namespace() {
    let server = Server::builder().start().unwrap();
    for nth in 0..100 {
        server.run(format!("many/c{nth}")).unwrap();
    }
    for verdict in [Verdict::Close, Verdict::Cut(50)] {
        let hook = server.on_call(treating("many", Method::ContainersListStream, verdict));
        let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
        let error = in_time(connection.list()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        server.remove_hook(hook);
    }
}

#[tokio::test]
async fn a_container_that_cannot_be_inspected_stays_as_it_was() {
    let unknown = Process { id: "web".into(), status: Status::Unknown as i32, ..Process::default() };
    let unknown = GetResponse { process: Some(unknown) }.encode_to_vec();
    for verdict in [
        Verdict::Garbage(unknown.into()),
        Verdict::error(Code::Unavailable, "ttrpc: closed"),
        Verdict::Garbage(vec![0x0a, 0xff].into()),
    ] {
        let server = Server::builder().start().unwrap();
        server.run("web").unwrap();
        let mut watched = watch(&server).live().await;
        let hook = server.on_call(treating("default", Method::TasksGet, verdict));
        server.set_label("web", "tier", Some("1")).unwrap();
        in_time(server.until(|stats| stats.requests.of(Method::TasksGet) >= 3)).await;
        assert_eq!(
            (watched.names(), watched.watching.status().unresolved.total()),
            (vec!["web".to_owned()], 1)
        );
        server.remove_hook(hook);
        assert_eq!(watched.reported().await, "updated web");
    }
}

#[tokio::test]
async fn an_unknown_task_state_ends_no_life() {
    use whalewatcher_api::containerd::services::tasks::v1::ListTasksResponse;
    let unknown = Process { id: "web".into(), status: Status::Unknown as i32, ..Process::default() };
    let list = ListTasksResponse { tasks: vec![unknown.clone()] }.encode_to_vec();
    let get = GetResponse { process: Some(unknown) }.encode_to_vec();
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let settings = Settings::default().with_audits(Duration::from_millis(50));
    let mut watched = watch_with_settings(Client::new(server.endpoint()).unwrap(), settings).live().await;
    server.on_call(treating("default", Method::TasksList, Verdict::Garbage(list.into())));
    server.on_call(treating("default", Method::TasksGet, Verdict::Garbage(get.into())));
    server.disconnect_all();
    assert_eq!(watched.until_reported("synced").await.pop().unwrap(), "synced 1, 1 unresolved");
    assert_eq!((watched.names(), watched.watching.status().unresolved.total()), (vec!["web".to_owned()], 1));
}
