//! Sockets that are closed, gone, replaced and removed.

use std::{io::ErrorKind, path::Path};

use whalewatcher_testkit::proxy::{Error, Fault, Proxy, Refusal};

use crate::peers::{Engine, Peer, in_time};

async fn refusal(proxy: &Proxy) -> ErrorKind {
    Peer::to(&proxy.endpoint()).await.err().expect("nothing listens").kind()
}

#[tokio::test]
async fn connections_are_refused_until_that_is_lifted() {
    let engine = Engine::unix();
    for (proxy, gone) in [
        (engine.proxy(), ErrorKind::NotFound),
        (
            Proxy::builder().listen_tcp().upstream(engine.endpoint()).start().unwrap(),
            ErrorKind::ConnectionRefused,
        ),
    ] {
        let (mut old, mut server) = engine.meet(&proxy).await;
        let endpoint = proxy.endpoint();
        let closed = proxy.inject(Fault::refuse(Refusal::Closed)).unwrap();
        assert_eq!(refusal(&proxy).await, ErrorKind::ConnectionRefused);
        let removed = proxy.inject(Fault::refuse(Refusal::Gone)).unwrap();
        assert_eq!(refusal(&proxy).await, gone);
        proxy.lift(removed).unwrap();
        assert_eq!(refusal(&proxy).await, ErrorKind::ConnectionRefused);
        proxy.lift(closed).unwrap();
        assert_eq!(proxy.endpoint(), endpoint);
        let (mut new, mut other) = engine.meet(&proxy).await;
        new.say("new").await;
        other.receive("new").await;
        server.say("old").await;
        old.receive("old").await;
    }
}

#[tokio::test]
async fn a_socket_file_is_replaced_and_old_connections_stay_or_go() {
    use std::os::unix::fs::MetadataExt;
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let path = proxy.endpoint().replace("unix://", "");
    // Another link keeps the inode, so that its number is not reused.
    let other = format!("{path}.old");
    std::fs::hard_link(&path, &other).unwrap();
    let before = std::fs::metadata(&path).unwrap().ino();
    let (mut old, mut server) = engine.meet(&proxy).await;
    proxy.inject(Fault::replace_socket(false)).unwrap();
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), before);
    assert!(Peer::to(&format!("unix://{other}")).await.is_err());
    server.say("old").await;
    old.receive("old").await;
    let (mut new, mut server) = engine.meet(&proxy).await;
    server.say("new").await;
    new.receive("new").await;
    proxy.inject(Fault::replace_socket(true)).unwrap();
    assert_eq!(new.receive_all().await.unwrap(), "");
    assert_eq!(old.receive_all().await.unwrap(), "");
    engine.meet(&proxy).await;
}

#[tokio::test]
async fn a_tcp_port_is_closed_and_opened_again() {
    let engine = Engine::unix();
    let proxy = Proxy::builder().listen_tcp().upstream(engine.endpoint()).start().unwrap();
    let (mut old, _server) = engine.meet(&proxy).await;
    proxy.inject(Fault::replace_socket(true)).unwrap();
    assert_eq!(old.receive_all().await.unwrap(), "");
    engine.meet(&proxy).await;
}

#[tokio::test]
async fn dropping_the_last_handle_closes_everything() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let path = proxy.endpoint().replace("unix://", "");
    let (mut client, mut server) = engine.meet(&proxy).await;
    let other = proxy.clone();
    drop(proxy);
    client.say("still here").await;
    server.receive("still here").await;
    drop(other);
    assert!(!Path::new(&path).exists() && !Path::new(&path).parent().unwrap().exists());
    assert_eq!(client.receive_all().await.unwrap(), "");
    assert_eq!(server.receive_all().await.unwrap(), "");
}

#[tokio::test]
async fn a_socket_can_be_named_and_must_be_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sock");
    let engine = Engine::unix();
    let make = || Proxy::builder().listen_unix(&path).upstream(engine.endpoint()).start();
    let proxy = make().unwrap();
    assert_eq!(proxy.endpoint(), format!("unix://{}", path.display()));
    assert!(matches!(make(), Err(Error::Listen { .. })));
    in_time(engine.meet(&proxy)).await;
    drop(proxy);
    assert!(!path.exists() && folder.path().exists());
}
