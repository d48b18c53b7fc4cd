//! An independent client, bollard, works with this server.

use std::collections::HashMap;

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{ContainerStateStatusEnum, EventMessageTypeEnum},
    query_parameters::{EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder},
};
use futures_util::StreamExt;
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::client::now;

fn connect(server: &Server) -> Docker {
    Docker::connect_with_unix(&server.endpoint(), 10, API_DEFAULT_VERSION).unwrap()
}

fn one(key: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(key.into(), vec![value.into()])])
}

#[tokio::test]
async fn bollard_negotiates_a_version() {
    let server = Server::builder().api_versions("1.43", "1.24").start().unwrap();
    let docker = connect(&server).negotiate_version().await.unwrap();
    assert_eq!(docker.client_version().to_string(), "1.43");
    assert_eq!(docker.ping().await.unwrap(), "OK");
    assert_eq!(docker.version().await.unwrap().min_api_version.as_deref(), Some("1.24"));
    let info = docker.info().await.unwrap();
    assert_eq!(info.id, Some(server.id()));
    assert_eq!(info.server_version.as_deref(), Some("28.5.2"));
}

#[tokio::test]
async fn bollard_lists_and_inspects() {
    let server = Server::builder().start().unwrap();
    let docker = connect(&server);
    let web = server.run(ContainerSpec::new("web").project("shop", "web").privileged(true)).unwrap();
    server.run("other").unwrap();
    server.pause(&web).unwrap();
    let options =
        ListContainersOptionsBuilder::new().filters(&one("label", "com.docker.compose.project=shop")).build();
    let listed = docker.list_containers(Some(options)).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, Some(web.clone()));
    assert_eq!(listed[0].names, Some(vec!["/web".to_owned()]));
    let found = docker.inspect_container(&web, None::<InspectContainerOptions>).await.unwrap();
    let state = found.state.unwrap();
    assert_eq!(state.status, Some(ContainerStateStatusEnum::PAUSED));
    assert_eq!(state.pid, Some(server.truth().iter().find(|alive| alive.id == web).unwrap().pid.into()));
    assert_eq!(found.host_config.unwrap().privileged, Some(true));
    let labels = found.config.unwrap().labels.unwrap();
    assert_eq!(labels["com.docker.compose.project"], "shop");
    server.remove(&web).unwrap();
    let gone = docker.inspect_container(&web, None::<InspectContainerOptions>).await.unwrap_err();
    assert!(matches!(
        gone,
        bollard::errors::Error::DockerResponseServerError { status_code: 404, message }
            if message == format!("No such container: {web}")
    ));
}

#[tokio::test]
async fn bollard_follows_events() {
    let server = Server::builder().start().unwrap();
    let docker = connect(&server);
    let options = EventsOptionsBuilder::new().since(&now(&server)).filters(&one("type", "container")).build();
    let mut events = docker.events(Some(options));
    server.run("web").unwrap();
    server.emit("network", "connect", "abc", [("name".to_string(), "none".to_string())].into());
    server.exec("web").unwrap();
    server.exit("web", 3).unwrap();
    let mut actions = Vec::new();
    while actions.last().is_none_or(|action| action != "die") {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.typ, Some(EventMessageTypeEnum::CONTAINER));
        if let Some(code) = event.actor.unwrap().attributes.unwrap().get("exitCode") {
            assert!(code == "0" || code == "3");
        }
        actions.push(event.action.unwrap());
    }
    assert_eq!(
        actions,
        ["create", "start", "exec_create: /bin/sh -c true", "exec_start: /bin/sh -c true", "exec_die", "die"]
    );
}

#[tokio::test]
async fn bollard_connects_over_tcp() {
    let server = Server::builder().tcp(true).start().unwrap();
    server.run("web").unwrap();
    let docker = Docker::connect_with_http(&server.tcp_endpoint().unwrap(), 10, API_DEFAULT_VERSION).unwrap();
    let found = docker.inspect_container("web", None::<InspectContainerOptions>).await.unwrap();
    assert_eq!(found.name.as_deref(), Some("/web"));
}
