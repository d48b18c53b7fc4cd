//! Lists, single answers, and the identity of the engine.

use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;
use whalewatcher_api::containerd::services::containers::v1::{
    Container, GetContainerRequest, containers_client::ContainersClient,
};
use whalewatcher_api::containerd::services::introspection::v1::introspection_client::IntrospectionClient;
use whalewatcher_api::containerd::services::tasks::v1::{GetRequest, tasks_client::TasksClient};
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_testkit::containerd::{ContainerSpec, Flavour, Server};

use crate::client::{channel, container, containers, namespaces, streamed, task, tasks, within};

fn ids(containers: &[Container]) -> Vec<&str> {
    containers.iter().map(|container| container.id.as_str()).collect()
}

#[tokio::test]
async fn a_container_is_seen_in_its_own_namespace_only() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    server.run("shop/web").unwrap();
    server.create("shop/idle").unwrap();
    server.create_namespace("empty");
    assert_eq!(namespaces(&server).await, ["default", "empty", "shop"]);
    assert_eq!(ids(&containers(&server, "shop", &[]).await.unwrap()), ["idle", "web"]);
    assert_eq!(ids(&streamed(&server, "shop").await.unwrap()), ["idle", "web"]);
    assert_eq!(ids(&containers(&server, "default", &[]).await.unwrap()), ["web"]);
    assert!(containers(&server, "empty", &[]).await.unwrap().is_empty());
    assert_eq!(tasks(&server, "shop").await["web"], "Running 4001");
    assert_eq!(tasks(&server, "default").await["web"], "Running 4000");
    assert!(tasks(&server, "unheard-of").await.is_empty());
    server.delete_namespace("empty").unwrap();
    assert_eq!(namespaces(&server).await, ["default", "shop"]);
}

#[tokio::test]
async fn a_call_without_a_namespace_is_refused() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    for (namespace, code) in [("", Code::FailedPrecondition), ("a/b", Code::InvalidArgument)] {
        assert_eq!(containers(&server, namespace, &[]).await.unwrap_err().code(), code);
        assert_eq!(streamed(&server, namespace).await.unwrap_err().code(), code);
        assert_eq!(container(&server, namespace, "web").await.unwrap_err().code(), code);
        assert_eq!(task(&server, namespace, "web").await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::builder().start().unwrap();
    server.create("web").unwrap();
    assert_eq!(container(&server, "default", "api").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(container(&server, "shop", "web").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(task(&server, "default", "web").await.unwrap_err().code(), Code::NotFound);
    server.start("web").unwrap();
    let exec = GetRequest { container_id: "web".into(), exec_id: "probe".into() };
    let answer = TasksClient::new(channel(&server)).get(within("default", exec)).await;
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    let mut images = tonic::client::Grpc::new(channel(&server));
    images.ready().await.unwrap();
    let get = PathAndQuery::from_static("/containerd.services.images.v1.Images/Get");
    let image = images.unary(within("default", ()), get, ProstCodec::<(), ()>::default()).await;
    assert_eq!(image.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(server.stats().requests.other, 1);
}

#[tokio::test]
async fn lists_can_be_filtered() {
    let server = Server::builder().start().unwrap();
    server.run(ContainerSpec::new("a").nerdctl_name("web").project("shop", "web")).unwrap();
    server.run(ContainerSpec::new("b").image("busybox:1")).unwrap();
    let by = async |filters: &[&str]| {
        let containers = containers(&server, "default", filters).await.unwrap();
        ids(&containers).join(" ")
    };
    assert_eq!(by(&["labels.\"nerdctl/name\"==web"]).await, "a");
    assert_eq!(by(&["labels.\"com.docker.compose.project\""]).await, "a");
    assert_eq!(by(&["image==busybox:1"]).await, "b");
    assert_eq!(by(&["runtime.name~=runc"]).await, "a b");
    assert_eq!(by(&["id==a", "id==b"]).await, "a b");
    let wrong = containers(&server, "default", &["id="]).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn two_thousand_containers_as_large_as_dockers_are_too_large_for_one_message() {
    let server = Server::builder().start().unwrap();
    for number in 0..2000 {
        server.create(format!("many/c{number:04}")).unwrap();
    }
    let refused = containers(&server, "many", &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("larger than max"), "{refused}");
    assert_eq!(streamed(&server, "many").await.unwrap().len(), 2000);
    // What fits containerd's limit does not always fit the client's.
    let few: Vec<_> = (0..500).map(|number| format!("few/c{number:04}")).collect();
    for key in &few {
        server.create(ContainerSpec::new(key)).unwrap();
    }
    assert_eq!(containers(&server, "few", &[]).await.unwrap().len(), 500);
    let mut careless = ContainersClient::new(channel(&server));
    let answer = careless.list(within("few", Default::default())).await;
    assert_eq!(answer.unwrap_err().code(), Code::OutOfRange);
    careless.get(within("few", GetContainerRequest { id: "c0001".into() })).await.unwrap();
}

#[tokio::test]
async fn the_engine_reports_its_identity() {
    let server = Server::builder().uuid("abc").pid(17).start().unwrap();
    let mut introspection = IntrospectionClient::new(channel(&server));
    let identity = introspection.server(()).await.unwrap().into_inner();
    assert_eq!((identity.uuid.as_str(), identity.pid), ("abc", 17));
    assert_ne!(identity.pidns, 0);
    let mut version = VersionClient::new(channel(&server));
    assert_eq!(version.version(()).await.unwrap().into_inner().version, "2.1.9");
    server.set_version("2.2.0", "r2");
    let later = version.version(()).await.unwrap().into_inner();
    assert_eq!((later.version.as_str(), later.revision.as_str()), ("2.2.0", "r2"));
    let requests = server.stats().requests;
    assert_eq!((requests.server, requests.version, requests.total()), (1, 2, 3));
}

#[tokio::test]
async fn an_old_containerd_does_not_report_its_pid() {
    let server = Server::builder().flavour(Flavour::V1_6).start().unwrap();
    let answer = IntrospectionClient::new(channel(&server)).server(()).await.unwrap().into_inner();
    assert_eq!((answer.uuid, answer.pid, answer.pidns), (server.uuid(), 0, 0));
    let version = VersionClient::new(channel(&server)).version(()).await.unwrap().into_inner().version;
    assert!(version.starts_with("1.6."), "{version}");
}
