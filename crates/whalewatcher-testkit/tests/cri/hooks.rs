//! Hooks: what can be done to a call before it is answered, and to its answer before it is sent. And counts.

use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use whalewatcher_api::cri::v1::ListContainersRequest;
use whalewatcher_testkit::cri::{Call, Method, Server, Verdict};

use crate::client::{
    Subscription, channel, client, container, container_in_words, containers, named, pod, sandbox, version,
};

/// The verdict for calls of this method, none for others.
fn only(method: Method, verdict: Verdict) -> impl Fn(&Call) -> Verdict + Send + Sync + 'static {
    move |call| if call.method() == method { verdict.clone() } else { Verdict::Pass }
}

fn with_two_containers() -> Server {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    server.run("p", named("b")).unwrap();
    server
}

#[tokio::test]
async fn requests_are_counted_by_method_and_by_id() {
    let server = with_two_containers();
    container(&server, "a").await.unwrap();
    container(&server, "a").await.unwrap();
    container(&server, "b").await.unwrap();
    container(&server, "missing").await.unwrap_err();
    sandbox(&server, "p").await.unwrap();
    containers(&server, None).await;
    let requests = server.stats().requests;
    let count = |id| requests.of_id(Method::ContainerStatus, id);
    assert_eq!((count("a"), count("b"), count("missing"), count("p")), (2, 1, 1, 0));
    assert_eq!(requests.of(Method::ContainerStatus), 4);
    assert_eq!(requests.of_id(Method::PodSandboxStatus, "p"), 1);
    assert_eq!((requests.of(Method::ListContainers), requests.of(Method::Version)), (1, 0));
    assert_eq!(
        requests.ids(Method::ContainerStatus).collect::<Vec<_>>(),
        [("a", 2), ("b", 1), ("missing", 1)]
    );
    assert_eq!(requests.total(), 6);
}

#[tokio::test]
async fn the_next_calls_of_a_method_can_fail() {
    let server = with_two_containers();
    server.fail_next(Method::ContainerStatus, 2, Code::Unavailable, "out of luck");
    for _ in 0..2 {
        let failed = container(&server, "a").await.unwrap_err();
        assert_eq!((failed.code(), failed.message()), (Code::Unavailable, "out of luck"));
        sandbox(&server, "p").await.unwrap();
    }
    container(&server, "a").await.unwrap();
}

#[tokio::test]
async fn the_status_of_one_container_can_fail_until_the_hook_is_removed() {
    let server = with_two_containers();
    let hook = server.fail(Method::ContainerStatus, "a", Code::Internal, "broken");
    assert_eq!(container(&server, "a").await.unwrap_err().code(), Code::Internal);
    container(&server, "b").await.unwrap();
    server.remove_hook(hook);
    container(&server, "a").await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_held_is_answered_with_what_is_true_afterwards() {
    let server = with_two_containers();
    let gate = server.hold(Method::ContainerStatus, Some("a"));
    let answer = tokio::spawn({
        let server = server.clone();
        async move { container_in_words(&server, "a").await }
    });
    gate.until_waiting(1).await;
    // Others pass.
    container(&server, "b").await.unwrap();
    server.exit("a", 9).unwrap();
    gate.open();
    assert_eq!(answer.await.unwrap(), "EXITED 0");
}

#[tokio::test]
async fn an_answer_that_is_held_reports_what_was_true_before() {
    let server = with_two_containers();
    let gate = server.hold_answers(Method::ListContainers, None);
    let answer = tokio::spawn({
        let server = server.clone();
        async move { containers(&server, None).await }
    });
    gate.until_waiting(1).await;
    server.exit("a", 0).unwrap();
    gate.open();
    assert_eq!(answer.await.unwrap(), ["a RUNNING", "b RUNNING"]);
    assert_eq!(containers(&server, None).await, ["a EXITED", "b RUNNING"]);
}

#[tokio::test]
async fn hooks_see_what_is_asked_for() {
    let server = with_two_containers();
    let status = server.arrival(|call| call.method() == Method::ContainerStatus);
    let listed = server.arrival(|call| call.method() == Method::ListContainers);
    let subscribed = server.arrival(|call| call.method() == Method::GetContainerEvents);
    container(&server, "a").await.unwrap();
    containers(&server, None).await;
    let _events = Subscription::registered(&server).await;
    let status = status.await;
    assert_eq!((status.id(), status.is_verbose()), (Some("a"), true));
    assert_eq!(status.path(), "/runtime.v1.RuntimeService/ContainerStatus");
    let listed = listed.await;
    assert_eq!((listed.id(), listed.is_verbose()), (None, false));
    assert_eq!(subscribed.await.id(), None);
}

#[tokio::test]
async fn a_call_can_stay_unanswered_until_its_client_leaves() {
    let server = with_two_containers();
    server.on_call(only(Method::ContainerStatus, Verdict::Hang));
    let arrival = server.arrival(|call| call.method() == Method::ContainerStatus);
    let client = tokio::spawn({
        let server = server.clone();
        async move { container(&server, "a").await }
    });
    arrival.await;
    version(&server).await.unwrap();
    assert!(!client.is_finished());
    server.disconnect_all();
    assert!(client.await.unwrap().is_err());
    server.until(|stats| stats.open == 0).await;
}

#[tokio::test]
async fn an_answer_can_be_garbage() {
    // No field has number 0.
    let garbage = Verdict::Garbage(vec![0, 0].into());
    let server = Server::builder()
        .on_call(move |call| match call.method() {
            Method::ContainerStatus | Method::GetContainerEvents => garbage.clone(),
            _ => Verdict::Pass,
        })
        .start()
        .unwrap();
    server.run_pod(pod("p")).unwrap();
    assert_eq!(container(&server, "a").await.unwrap_err().code(), Code::Internal);
    assert_eq!(Subscription::request(&server).next().await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn a_connection_can_be_closed_without_an_answer() {
    let server = with_two_containers();
    let hook = server.on_call(only(Method::ContainerStatus, Verdict::Close));
    assert!(container(&server, "a").await.is_err());
    server.remove_hook(hook);
    server.on_answer(|call, code| {
        assert_eq!(code, Code::Ok);
        only(Method::PodSandboxStatus, Verdict::Close)(call)
    });
    assert!(sandbox(&server, "p").await.is_err());
    container(&server, "a").await.unwrap();
    server.until(|stats| stats.open == 0).await;
}

#[tokio::test]
async fn a_stream_can_be_cut_or_ended_after_some_events() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    let hook = server.on_call(only(Method::GetContainerEvents, Verdict::End(2)));
    let mut events = Subscription::request(&server);
    assert_eq!(events.reported(2).await, ["CREATED p READY", "STARTED p READY"]);
    assert!(events.next().await.unwrap().is_none());
    server.remove_hook(hook);
    server.until(|stats| stats.subscriptions == 0).await;

    let hook = server.on_call(only(Method::GetContainerEvents, Verdict::Cut(1)));
    let mut events = Subscription::registered(&server).await;
    server.exit("a", 0).unwrap();
    assert_eq!(events.reported(1).await, ["STOPPED a READY a:EXITED"]);
    assert!(events.next().await.is_err());
    server.remove_hook(hook);

    server.on_call(only(Method::GetContainerEvents, Verdict::End(0)));
    assert!(Subscription::request(&server).next().await.unwrap().is_none());
    server.until(|stats| stats.subscriptions == 0).await;
}

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let server = Server::builder().start().unwrap();
    for (path, message) in [
        (
            "/runtime.v1.RuntimeService/UpdateRuntimeConfig",
            "unknown method UpdateRuntimeConfig for service runtime.v1.RuntimeService",
        ),
        (
            "/runtime.v1alpha2.RuntimeService/ListContainers",
            "unknown service runtime.v1alpha2.RuntimeService",
        ),
    ] {
        let mut grpc = tonic::client::Grpc::new(channel(&server));
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(path);
        let refused = grpc.unary(Request::new(()), path, ProstCodec::<(), ()>::default()).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unimplemented, message));
    }
    client(&server).list_containers(ListContainersRequest::default()).await.unwrap();
    assert_eq!(server.stats().requests.of(Method::Other), 2);
}
