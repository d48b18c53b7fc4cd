//! Hooks: what can be done to a call before it is answered, and to its answer before it is sent.

use tonic::Code;
use whalewatcher_testkit::containerd::{Call, Gate, Method, Server, Verdict};

use crate::client::{Subscription, container, containers, namespaces, publish, streamed, task, tasks};

/// The verdict for calls of this method, none for others.
fn only(method: Method, verdict: Verdict) -> impl Fn(&Call) -> Verdict + Send + Sync + 'static {
    move |call| if call.method() == method { verdict.clone() } else { Verdict::Pass }
}

#[tokio::test]
async fn a_call_that_is_held_is_answered_with_what_is_true_afterwards() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let gate = Gate::closed();
    server.on_call(only(Method::TasksGet, Verdict::Hold(gate.clone())));
    let answer = tokio::spawn({
        let server = server.clone();
        async move { task(&server, "default", "web").await.unwrap().exit_status }
    });
    gate.until_waiting(1).await;
    // Others pass.
    namespaces(&server).await;
    server.exit("web", 9).unwrap();
    gate.open();
    assert_eq!(answer.await.unwrap(), 9);
}

#[tokio::test]
async fn an_answer_that_is_held_reports_what_was_true_before() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let gate = Gate::closed();
    let held = only(Method::TasksList, Verdict::Hold(gate.clone()));
    server.on_answer(move |call, code| {
        assert_eq!(code, Code::Ok);
        held(call)
    });
    let answer = tokio::spawn({
        let server = server.clone();
        async move { tasks(&server, "default").await["web"].clone() }
    });
    gate.until_waiting(1).await;
    server.exit("web", 0).unwrap();
    gate.open();
    assert_eq!(answer.await.unwrap(), "Running 4000");
}

#[tokio::test]
async fn one_namespace_can_fail_until_the_hook_is_removed() {
    let server = Server::builder().start().unwrap();
    server.run("shop/web").unwrap();
    server.run("api").unwrap();
    let hook = server.on_call(|call| match (call.method(), call.namespace()) {
        (Method::ContainersList, Some("shop")) => Verdict::error(Code::Unavailable, "out of luck"),
        _ => Verdict::Pass,
    });
    let failed = containers(&server, "shop", &[]).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::Unavailable, "out of luck"));
    assert_eq!(containers(&server, "default", &[]).await.unwrap().len(), 1);
    server.remove_hook(hook);
    assert_eq!(containers(&server, "shop", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn publishing_can_be_refused() {
    let server = Server::builder()
        .on_call(only(Method::Publish, Verdict::error(Code::Unimplemented, "unknown method Publish")))
        .start()
        .unwrap();
    assert_eq!(publish(&server, "test", "/probe").await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(server.stats().requests.publish, 1);
}

#[tokio::test]
async fn hooks_see_what_is_asked_for() {
    let server = Server::builder().start().unwrap();
    server.run("shop/web").unwrap();
    let got = server.arrival(|call| call.method() == Method::ContainersGet);
    let asked = server.arrival(|call| call.method() == Method::TasksGet);
    let published = server.arrival(|call| call.topic().is_some());
    let subscribed = server.arrival(|call| call.method() == Method::Subscribe);
    container(&server, "shop", "web").await.unwrap();
    task(&server, "shop", "web").await.unwrap();
    publish(&server, "shop", "/probe").await.unwrap();
    let _events = Subscription::registered(&server, &["topic==\"/probe\""]).await;
    let got = got.await;
    assert_eq!((got.namespace(), got.container()), (Some("shop"), Some("web")));
    assert_eq!(got.path(), "/containerd.services.containers.v1.Containers/Get");
    assert_eq!(asked.await.container(), Some("web"));
    assert_eq!(published.await.topic(), Some("/probe"));
    assert_eq!(subscribed.await.filters(), ["topic==\"/probe\""]);
}

#[tokio::test]
async fn a_call_can_stay_unanswered_until_its_client_leaves() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    server.on_call(only(Method::TasksGet, Verdict::Hang));
    let arrival = server.arrival(|call| call.method() == Method::TasksGet);
    let client = tokio::spawn({
        let server = server.clone();
        async move { task(&server, "default", "web").await }
    });
    arrival.await;
    namespaces(&server).await;
    assert!(!client.is_finished());
    server.disconnect_all();
    assert!(client.await.unwrap().is_err());
    server.until(|stats| stats.open == 0).await;
}

#[tokio::test]
async fn an_answer_can_be_garbage() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    // No field has number 0.
    let garbage = Verdict::Garbage(vec![0, 0].into());
    server.on_call(move |call| match call.method() {
        Method::TasksGet | Method::ContainersListStream | Method::Subscribe => garbage.clone(),
        _ => Verdict::Pass,
    });
    assert_eq!(task(&server, "default", "web").await.unwrap_err().code(), Code::Internal);
    assert_eq!(streamed(&server, "default").await.unwrap_err().code(), Code::Internal);
    let mut events = Subscription::registered(&server, &[]).await;
    server.exit("web", 0).unwrap();
    assert_eq!(events.next().await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn a_connection_can_be_closed_without_an_answer() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let hook = server.on_call(only(Method::TasksGet, Verdict::Close));
    assert!(task(&server, "default", "web").await.is_err());
    server.remove_hook(hook);
    server.on_answer(|call, _| only(Method::ContainersGet, Verdict::Close)(call));
    assert!(container(&server, "default", "web").await.is_err());
    server.until(|stats| stats.open == 0).await;
}

#[tokio::test]
async fn a_stream_can_be_cut_or_ended_after_some_messages() {
    let server = Server::builder().start().unwrap();
    for name in ["a", "b", "c"] {
        server.run(name).unwrap();
    }
    let hook = server.on_call(only(Method::ContainersListStream, Verdict::End(2)));
    assert_eq!(streamed(&server, "default").await.unwrap().len(), 2);
    server.remove_hook(hook);
    let hook = server.on_call(only(Method::ContainersListStream, Verdict::Cut(2)));
    assert!(streamed(&server, "default").await.is_err());
    server.remove_hook(hook);

    let hook = server.on_call(only(Method::Subscribe, Verdict::End(1)));
    let mut events = Subscription::registered(&server, &[]).await;
    server.exit("a", 0).unwrap();
    server.exit("b", 0).unwrap();
    assert_eq!(events.reported(1).await, ["/tasks/exit default a a 4000 0"]);
    assert!(events.next().await.unwrap().is_none());
    server.remove_hook(hook);

    let hook = server.on_call(only(Method::Subscribe, Verdict::Cut(1)));
    let mut events = Subscription::registered(&server, &[]).await;
    server.exit("c", 0).unwrap();
    assert_eq!(events.reported(1).await, ["/tasks/exit default c c 4002 0"]);
    assert!(events.next().await.is_err());
    server.remove_hook(hook);

    server.on_call(only(Method::Subscribe, Verdict::End(0)));
    assert!(Subscription::request(&server, &[]).next().await.unwrap().is_none());
    server.until(|stats| stats.subscriptions == 0).await;
}
