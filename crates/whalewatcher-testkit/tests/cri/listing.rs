//! The content of lists and statuses, and their filters.

use tonic::Code;
use whalewatcher_api::cri::v1::{
    ContainerFilter, ContainerStateValue, ContainerStatusRequest, ListContainersRequest, PodSandboxFilter,
    PodSandboxStateValue, PodSandboxStatusRequest, StatusRequest,
    runtime_service_client::RuntimeServiceClient,
};
use whalewatcher_testkit::cri::{Flavour, Info, Method, Server};

use crate::client::{
    channel, client, container, container_in_words, containers, info, named, pod, sandbox, sandbox_in_words,
    sandboxes, version,
};

fn two_pods(flavour: Flavour) -> Server {
    let server = Server::builder().flavour(flavour).start().unwrap();
    server.run_pod(pod("p1").label("app", "web")).unwrap();
    server.run_pod(pod("p2")).unwrap();
    server.run("p1", named("abc1").label("tier", "front")).unwrap();
    server.create("p1", named("abc2")).unwrap();
    server.run("p2", named("xyz1")).unwrap();
    server.exit("xyz1", 0).unwrap();
    server.stop("p2").unwrap();
    server
}

#[tokio::test]
async fn lists_report_of_everything_in_whatever_state() {
    let server = two_pods(Flavour::default());
    assert_eq!(containers(&server, None).await, ["abc1 RUNNING", "abc2 CREATED", "xyz1 EXITED"]);
    assert_eq!(sandboxes(&server, None).await, ["p1 READY", "p2 NOTREADY"]);
    let listed =
        client(&server).list_containers(ListContainersRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.containers[2].pod_sandbox_id, "p2");
    assert_eq!(listed.containers[0].labels["tier"], "front");
}

#[tokio::test]
async fn containers_can_be_selected_by_id_sandbox_state_and_labels() {
    let server = two_pods(Flavour::default());
    let select = async |filter: ContainerFilter| containers(&server, Some(filter)).await;
    let running = Some(ContainerStateValue { state: 1 });
    let created = Some(ContainerStateValue { state: 0 });
    assert_eq!(select(ContainerFilter::default()).await.len(), 3);
    assert_eq!(select(ContainerFilter { state: running, ..Default::default() }).await, ["abc1 RUNNING"]);
    // The state 0 is a state, and not none.
    assert_eq!(select(ContainerFilter { state: created, ..Default::default() }).await, ["abc2 CREATED"]);
    let of_pod = ContainerFilter { pod_sandbox_id: "p1".into(), ..Default::default() };
    assert_eq!(select(of_pod.clone()).await, ["abc1 RUNNING", "abc2 CREATED"]);
    assert_eq!(select(ContainerFilter { state: created, ..of_pod }).await, ["abc2 CREATED"]);
    // An ID may be cut short as long as it is clear whose it is.
    let of_id = |id: &str| ContainerFilter { id: id.into(), ..Default::default() };
    assert_eq!(select(of_id("x")).await, ["xyz1 EXITED"]);
    assert!(select(of_id("abc")).await.is_empty());
    let labelled = |value: &str| ContainerFilter {
        label_selector: [("tier".to_owned(), value.to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(select(labelled("front")).await, ["abc1 RUNNING"]);
    assert!(select(labelled("back")).await.is_empty());
}

#[tokio::test]
async fn sandboxes_can_be_selected_by_id_state_and_labels() {
    let server = two_pods(Flavour::default());
    let select = async |filter: PodSandboxFilter| sandboxes(&server, Some(filter)).await;
    let ready = Some(PodSandboxStateValue { state: 0 });
    assert_eq!(select(PodSandboxFilter { state: ready, ..Default::default() }).await, ["p1 READY"]);
    let of_id = |id: &str| PodSandboxFilter { id: id.into(), ..Default::default() };
    assert_eq!(select(of_id("p2")).await, ["p2 NOTREADY"]);
    assert_eq!(select(of_id("p")).await.len(), 2);
    let labelled = [("app".to_owned(), "web".to_owned())].into();
    let labelled = PodSandboxFilter { label_selector: labelled, ..Default::default() };
    assert_eq!(select(labelled).await, ["p1 READY"]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_as_each_runtime_says_it() {
    for (flavour, no_container, no_sandbox) in [
        (
            Flavour::Containerd2_1,
            "an error occurred when try to find container \"p1\": not found",
            "an error occurred when try to find sandbox: not found",
        ),
        (
            Flavour::Crio,
            "could not find container \"p1\": container with ID starting with p1 not found: ID does not exist",
            "could not find pod \"abc1\": PodSandbox with ID starting with abc1 not found: ID does not exist",
        ),
    ] {
        let server = two_pods(flavour);
        // A sandbox is no container, nor the other way around.
        let missing = container(&server, "p1").await.unwrap_err();
        assert_eq!((missing.code(), missing.message()), (Code::NotFound, no_container));
        let missing = sandbox(&server, "abc1").await.unwrap_err();
        assert_eq!((missing.code(), missing.message()), (Code::NotFound, no_sandbox));
        assert_eq!(container(&server, "x").await.unwrap().status.unwrap().id, "xyz1");
    }
    let server = two_pods(Flavour::default());
    assert_eq!(container(&server, "abc").await.unwrap_err().code(), Code::Unknown);
    assert_eq!(sandbox(&server, "").await.unwrap_err().code(), Code::Unknown);
}

#[tokio::test]
async fn the_pid_is_in_the_json_of_a_verbose_status_only() {
    let server = two_pods(Flavour::default());
    let reported = container(&server, "abc1").await.unwrap().info;
    assert_eq!(reported.keys().collect::<Vec<_>>(), ["info"]);
    let reported = info(&reported);
    assert_eq!((&reported["pid"], &reported["sandboxID"]), (&4002.into(), &"p1".into()));
    assert_eq!(reported["config"]["metadata"]["name"], "nginx");
    let reported = info(&sandbox(&server, "p1").await.unwrap().info);
    assert_eq!((&reported["pid"], &reported["processStatus"]), (&4000.into(), &"running".into()));
    assert_eq!(info(&sandbox(&server, "p2").await.unwrap().info)["processStatus"], "deleted");

    let brief = ContainerStatusRequest { container_id: "abc1".into(), verbose: false };
    assert!(client(&server).container_status(brief).await.unwrap().into_inner().info.is_empty());
    let brief = PodSandboxStatusRequest { pod_sandbox_id: "p1".into(), verbose: false };
    assert!(client(&server).pod_sandbox_status(brief).await.unwrap().into_inner().info.is_empty());
}

#[tokio::test]
async fn crio_writes_other_json_and_sandboxes_may_have_no_process() {
    let server = two_pods(Flavour::Crio);
    let reported = info(&container(&server, "abc1").await.unwrap().info);
    assert_eq!((&reported["pid"], &reported["privileged"]), (&4002.into(), &false.into()));
    assert!(reported.get("config").is_none());
    let reported = info(&sandbox(&server, "p1").await.unwrap().info);
    assert_eq!(reported["pid"], 4000);
    assert!(reported.get("processStatus").is_none());
    server.run_pod(pod("spoofed").without_infra_container()).unwrap();
    let answer = sandbox(&server, "spoofed").await.unwrap();
    assert_eq!(answer.status.unwrap().state, 0);
    assert_eq!(info(&answer.info).as_object().unwrap().keys().collect::<Vec<_>>(), ["runtimeSpec"]);
    assert!(server.truth().iter().all(|alive| alive.id != "spoofed"));
}

#[tokio::test]
async fn crio_with_events_adds_the_containers_to_the_status_of_a_sandbox() {
    for (flavour, ids) in [(Flavour::CrioWithEvents, vec!["abc1", "abc2"]), (Flavour::Crio, vec![])] {
        let answer = sandbox(&two_pods(flavour), "p1").await.unwrap();
        let statuses = answer.containers_statuses.iter().map(|status| status.id.as_str());
        assert_eq!(statuses.collect::<Vec<_>>(), ids, "{flavour:?}");
        assert_eq!(answer.timestamp == 0, ids.is_empty());
    }
}

#[tokio::test]
async fn the_verbose_part_can_be_missing_wrong_or_no_json() {
    let server = two_pods(Flavour::default());
    server.set_info("abc1", Info::Pid(0)).unwrap();
    assert_eq!(container_in_words(&server, "abc1").await, "RUNNING 0");
    server.set_info("abc1", Info::WithoutPid).unwrap();
    let reported = info(&container(&server, "abc1").await.unwrap().info);
    assert!(reported.get("pid").is_none());
    assert_eq!(reported["sandboxID"], "p1");
    server.set_info("abc1", Info::Missing).unwrap();
    assert!(container(&server, "abc1").await.unwrap().info.is_empty());
    server.set_info("abc1", Info::Text("{\"pid\":".into())).unwrap();
    assert_eq!(container(&server, "abc1").await.unwrap().info["info"], "{\"pid\":");
    server.set_info("abc1", Info::Reported).unwrap();
    assert_eq!(container_in_words(&server, "abc1").await, "RUNNING 4002");
    server.set_info("p1", Info::Pid(-1)).unwrap();
    assert_eq!(sandbox_in_words(&server, "p1").await, "READY -1");
}

#[tokio::test]
async fn states_can_be_unknown_numbers() {
    let server = two_pods(Flavour::default());
    server.set_raw_state("abc1", Some(77)).unwrap();
    server.set_raw_state("p1", Some(-3)).unwrap();
    assert_eq!(container_in_words(&server, "abc1").await, "77 4002");
    assert_eq!(containers(&server, None).await[0], "abc1 77");
    assert_eq!(sandboxes(&server, None).await[0], "p1 -3");
    assert!(server.truth().is_empty());
    server.set_raw_state("abc1", Some(3)).unwrap();
    assert_eq!(container_in_words(&server, "abc1").await, "UNKNOWN 4002");
    server.set_raw_state("abc1", None).unwrap();
    assert_eq!(server.truth()[0].id, "abc1");
}

#[tokio::test]
async fn the_runtime_reports_its_identity_and_can_change_it() {
    for (flavour, reported) in [
        (Flavour::Containerd1_6, "containerd 1.6.20 v1"),
        (Flavour::Containerd1_7, "containerd 1.7.24 v1"),
        (Flavour::Containerd2_1, "containerd v2.1.9 v1"),
        (Flavour::Crio, "cri-o 1.33.4 v1"),
    ] {
        let server = Server::builder().flavour(flavour).start().unwrap();
        assert_eq!(version(&server).await.unwrap(), reported);
    }
    let server = Server::builder().version("frakti", "0.3").start().unwrap();
    assert_eq!(version(&server).await.unwrap(), "frakti 0.3 v1");
    server.set_version("frakti", "0.4");
    assert_eq!(version(&server).await.unwrap(), "frakti 0.4 v1");
    server.become_flavour(Flavour::Containerd1_7);
    assert_eq!(version(&server).await.unwrap(), "containerd 1.7.24 v1");
    assert_eq!(server.stats().requests.of(Method::Version), 3);
}

#[tokio::test]
async fn the_runtime_says_that_it_is_well() {
    let server = Server::builder().start().unwrap();
    let answer = client(&server).status(StatusRequest { verbose: true }).await.unwrap().into_inner();
    let conditions = answer.status.unwrap().conditions;
    let conditions: Vec<_> = conditions.iter().map(|is| (is.r#type.as_str(), is.status)).collect();
    assert_eq!(conditions, [("RuntimeReady", true), ("NetworkReady", true)]);
    assert!(answer.info.contains_key("config"));
}

#[tokio::test]
async fn lists_can_be_too_large_for_a_client_or_for_the_runtime() {
    let server = Server::builder().start().unwrap();
    let make = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let sandbox = server.run_pod(pod(&format!("p{number}"))).unwrap();
            let large = named(&format!("c{number}")).annotation("large", "x".repeat(60_000));
            server.create(&sandbox, large).unwrap();
        }
    };
    make(0..100);
    // More than the 4 MiB that a tonic client accepts by default.
    let mut careless = RuntimeServiceClient::new(channel(&server));
    let refused = careless.list_containers(ListContainersRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(containers(&server, None).await.len(), 100);
    make(100..300);
    let refused = client(&server).list_containers(ListContainersRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("larger than max"), "{refused}");
    // CRI-O's limit is higher.
    server.become_flavour(Flavour::Crio);
    assert_eq!(containers(&server, None).await.len(), 300);
}
