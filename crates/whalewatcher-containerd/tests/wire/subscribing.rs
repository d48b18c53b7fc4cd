//! The subscription: proven before the list, or followed by a second one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use whalewatcher_containerd::Client;
use whalewatcher_testkit::containerd::{Code, Gate, Method, Server, Verdict};

use crate::watched::{assert_true, in_time, watch, watch_by};

/// A server that refuses to publish.
fn without_publishing(code: Code) -> Server {
    let refuse = move |call: &whalewatcher_testkit::containerd::Call| match call.method() {
        Method::Publish => Verdict::error(code, "not you"),
        _ => Verdict::Pass,
    };
    Server::builder().on_call(refuse).start().unwrap()
}

#[tokio::test]
async fn nothing_is_listed_before_an_event_of_our_own_came_back() {
    let server = Server::builder().start().unwrap();
    let gate = server.hold_subscriptions();
    let watched = watch(&server);
    in_time(server.until(|stats| stats.requests.of(Method::Publish) >= 5)).await;
    assert_eq!(server.stats().requests.of(Method::NamespacesList), 0);
    server.run("early").unwrap();
    gate.open();
    let mut watched = watched.live().await;
    assert_eq!(watched.names(), ["early"]);
    server.run("late").unwrap();
    assert_eq!(watched.reported().await, "started late");
}

#[tokio::test]
async fn our_own_event_is_published_less_and_less_often() {
    let server = Server::builder().start().unwrap();
    let _gate = server.hold_subscriptions();
    let begun = Instant::now();
    let _watched = watch(&server);
    in_time(server.until(|stats| stats.requests.of(Method::Publish) >= 9)).await;
    // After 2, 4, 8, 16, 32, 64, 100 and 100 ms.
    assert!(begun.elapsed() >= Duration::from_millis(326), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_quiet_engine_is_live_and_our_own_events_are_skipped() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(watched.watching.status().counters.events, 0);
    server.run("first").unwrap();
    assert_eq!(watched.reported().await, "started first");
    assert_eq!(watched.watching.status().counters.events, 1);
}

#[tokio::test]
async fn any_event_proves_the_subscription_and_is_not_lost() {
    let server = Server::builder().start().unwrap();
    // Publishing is not answered, so our event is published only once.
    let publishing = Gate::closed();
    let hook = server.on(Method::Publish, Verdict::Hold(publishing.clone()));
    let watched = watch(&server);
    in_time(server.until_subscriptions(1)).await;
    server.run("first").unwrap();
    let mut watched = watched.live().await;
    assert_eq!(watched.names(), ["first"]);
    server.remove_hook(hook);
    publishing.open();
    server.exit("first", 0).unwrap();
    assert_eq!(watched.reported().await, "exited first 0");
}

#[tokio::test]
async fn what_happens_between_the_list_and_its_answer_is_reported() {
    let server = Server::builder().start().unwrap();
    for id in ["stays", "goes", "staging/goes"] {
        server.run(id).unwrap();
    }
    let gate = server.hold_answers(Method::ContainersListStream);
    let watched = watch(&server);
    in_time(gate.until_waiting(2)).await;
    server.exit("goes", 0).unwrap();
    server.remove("staging/goes").unwrap();
    server.run("comes").unwrap();
    server.run("new/comes").unwrap();
    gate.open();
    let watched = watched.live().await;
    assert_true(&watched, &server);
}

#[tokio::test]
async fn where_publishing_is_refused_the_first_event_causes_a_list() {
    for code in [Code::Unimplemented, Code::PermissionDenied] {
        let server = without_publishing(code);
        let gate = server.hold_subscriptions();
        server.run("there").unwrap();
        let mut watched = watch(&server).live().await;
        assert_eq!(watched.names(), ["there"]);
        // The subscription does not stand yet.
        server.run("missed").unwrap();
        gate.open();
        in_time(server.until_subscriptions(1)).await;
        server.exit("there", 0).unwrap();
        let mut reported = watched.reported_all(2).await;
        reported.sort();
        assert_eq!(reported, ["exited there 0", "started missed"]);
        assert_true(&watched, &server);
        assert_eq!(watched.watching.status().counters.lists, 2);
    }
}

#[tokio::test]
async fn where_publishing_is_refused_silence_causes_a_list() {
    let server = without_publishing(Code::PermissionDenied);
    let gate = server.hold_subscriptions();
    let mut watched = watch(&server).live().await;
    server.run("missed").unwrap();
    gate.open();
    assert_eq!(watched.reported().await, "started missed");
    server.run("seen").unwrap();
    assert_eq!(watched.reported().await, "started seen");
    assert_eq!(watched.watching.status().counters.lists, 2);
}

#[tokio::test]
async fn publishing_that_fails_otherwise_fails_the_attempt() {
    let server = Server::builder().start().unwrap();
    let hook = server.on(Method::Publish, Verdict::error(Code::Unavailable, "not yet"));
    let mut watched = watch(&server);
    assert_eq!(watched.reported().await, "disconnected containerd fails Events.Publish: not yet");
    server.remove_hook(hook);
    watched.until_reported("synced").await;
}

#[tokio::test]
async fn a_subscription_that_ends_before_its_first_event_or_fails_is_made_again() {
    for (verdict, reported) in [
        (Verdict::error(Code::Internal, "no"), "disconnected containerd fails Events.Subscribe: no"),
        (Verdict::Close, "disconnected Events."),
        (
            Verdict::Garbage(vec![0x0a, 0xff].into()),
            "disconnected Events.Subscribe: the answer cannot be understood",
        ),
    ] {
        let server = Server::builder().start().unwrap();
        let hook = server.on_call(move |call| match call.method() {
            Method::Subscribe => verdict.clone(),
            _ => Verdict::Pass,
        });
        let mut watched = watch(&server);
        let said = watched.reported().await;
        assert!(said.starts_with(reported), "{said}");
        server.remove_hook(hook);
        watched.until_reported("synced").await;
    }
}

#[tokio::test]
async fn ignored_namespaces_are_filtered_by_the_server() {
    for (client, ignored) in [
        (Client::builder(), ",namespace!=\"moby\",namespace!=\"k8s.io\""),
        (Client::builder().ignored_namespaces(["shop"]), ",namespace!=\"shop\""),
        (Client::builder().ignored_namespaces(Vec::<String>::new()), ""),
    ] {
        let server = Server::builder().start().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let asking = asked.clone();
        server.on_call(move |call| {
            if call.method() == Method::Subscribe {
                asking.lock().unwrap().extend(call.filters().to_vec());
            }
            Verdict::Pass
        });
        watch_by(client.endpoint(server.endpoint()).build().unwrap()).live().await;
        let filters = asked.lock().unwrap().clone();
        assert_eq!(filters.len(), 2, "{filters:?}");
        assert!(filters[0].ends_with(&format!("(update|delete))$\"{ignored}")), "{filters:?}");
    }
}
