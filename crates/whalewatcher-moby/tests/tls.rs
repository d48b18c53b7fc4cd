//! Docker over TCP with TLS: trusted or not, with and without a client certificate. Each failure says what to do.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{EngineError, ErrorKind, Settings};
use whalewatcher_moby::{Client, Connection, Contexts, Tls};
use whalewatcher_testkit::docker::Server;

/// A certificate and its key, in PEM.
type Pair = (String, String);

/// A certificate authority, and folders with certificates that it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::named("authority")
    }

    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), ca, folder: tempfile::tempdir().unwrap() }
    }

    fn sign(&self, name: &str) -> Pair {
        self.sign_with(&CertificateParams::new([name.to_owned()]).unwrap())
    }

    fn sign_between(&self, begin: i32, end: i32) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(begin, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        self.sign_with(&params)
    }

    fn sign_with(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Returns a folder as `DOCKER_CERT_PATH` names it, with this pair for the client.
    fn certificates(&self, name: &str, own: Option<&Pair>) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("ca.pem"), &self.ca).unwrap();
        if let Some((certificate, key)) = own {
            fs::write(folder.join("cert.pem"), certificate).unwrap();
            fs::write(folder.join("key.pem"), key).unwrap();
        }
        folder
    }

    /// Serves an engine, with this certificate, to clients with one of this authority.
    async fn serve(&self, engine: &Server, (certificate, key): &Pair) -> (SocketAddr, AbortOnDropHandle<()>) {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            // It is not checked here.
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = engine.socket();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                connections.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut engine = UnixStream::connect(socket).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut engine).await;
                });
            }
        });
        (address, AbortOnDropHandle::new(task))
    }
}

async fn connect(endpoint: String, tls: Tls) -> Result<Connection, EngineError> {
    connect_with(Client::builder().endpoint(endpoint).tls(tls).build().unwrap()).await
}

async fn connect_with(client: Client) -> Result<Connection, EngineError> {
    timeout(Duration::from_secs(20), client.connect(&Settings::default())).await.expect("connecting ends")
}

#[tokio::test]
async fn a_trusted_engine_is_watched() {
    let engine = Server::builder().id("whale").start().unwrap();
    engine.run("web").unwrap();
    let authority = Authority::new();
    let (address, _serving) = authority.serve(&engine, &authority.sign("localhost")).await;
    let folder = authority.certificates("watcher", Some(&authority.sign("watcher")));
    let [ca, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
    let from_files = Tls::from_files(Some(&ca), Some(&certificate), Some(&key)).unwrap();
    for tls in [Tls::from_folder(&folder).unwrap(), from_files] {
        for scheme in ["tcp", "https"] {
            let endpoint = format!("{scheme}://localhost:{}", address.port());
            let connection = connect(endpoint, tls.clone()).await.unwrap();
            assert_eq!(connection.identity().id, "whale");
            assert_eq!(connection.list().await.unwrap().entries.len(), 1);
        }
    }
}

#[tokio::test]
async fn certificates_that_are_replaced_are_used_from_the_next_connection_on() {
    let engine = Server::builder().id("whale").start().unwrap();
    let (first, second) = (Authority::new(), Authority::named("second"));
    let folder = first.certificates("watcher", Some(&first.sign("watcher")));
    let (address, _serving) = second.serve(&engine, &second.sign("localhost")).await;
    let endpoint = format!("tcp://localhost:{}", address.port());
    let tls = Tls::from_folder(&folder).unwrap();
    let client = Client::builder().endpoint(endpoint).tls(tls).build().unwrap();
    connect_with(client.clone()).await.unwrap_err();
    let (certificate, key) = second.sign("watcher");
    for (name, content) in [("ca.pem", &second.ca), ("cert.pem", &certificate), ("key.pem", &key)] {
        fs::write(folder.join(name), content).unwrap();
    }
    assert_eq!(connect_with(client.clone()).await.unwrap().identity().id, "whale");
    fs::write(folder.join("ca.pem"), "").unwrap();
    let error = connect_with(client).await.unwrap_err();
    assert!(
        error.to_string().contains("ca.pem cannot be used for TLS: it contains no certificate"),
        "{error}"
    );
}

#[tokio::test]
async fn an_engine_with_an_unusable_certificate_is_refused_with_the_reason() {
    let engine = Server::builder().start().unwrap();
    let authority = Authority::new();
    let own = Tls::from_folder(authority.certificates("watcher", Some(&authority.sign("watcher")))).unwrap();
    let version_1 = include_str!("../../whalewatcher-adapter/tests/tls/version-1.pem").to_owned();
    for (certificate, reason) in [
        (Authority::named("foreign").sign("localhost"), "is signed by no authority in /"),
        (Authority::new().sign("localhost"), "signed with another key than that of the authority"),
        (authority.sign("whale"), "is for whale, not for localhost: connect by a name of it"),
        (authority.sign_between(2000, 2001), "has expired at 2001-01-01T00:00:00Z: renew it"),
        (authority.sign_between(4000, 4001), "is not valid before 4000-01-01T00:00:00Z"),
        (
            (version_1, include_str!("../../whalewatcher-adapter/tests/tls/version-1.key").to_owned()),
            "it is of X.509 version 1",
        ),
    ] {
        let (address, _serving) = authority.serve(&engine, &certificate).await;
        let endpoint = format!("tcp://localhost:{}", address.port());
        let error = connect(endpoint.clone(), own.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotThisEngine, "{error}");
        assert!(error.to_string().starts_with(&format!("the certificate of {endpoint} ")), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn an_engine_that_refuses_the_client_is_an_error_that_names_the_file() {
    let engine = Server::builder().start().unwrap();
    let (authority, foreign) = (Authority::new(), Authority::named("foreign"));
    let (address, _serving) = authority.serve(&engine, &authority.sign("localhost")).await;
    let endpoint = format!("tcp://localhost:{}", address.port());
    for (name, own, reason) in [
        ("none", None, "requires a client certificate, and there is none: put cert.pem and key.pem into /"),
        ("foreign", Some(foreign.sign("watcher")), "/foreign/cert.pem (UnknownCA): it has to be signed by"),
        ("old", Some(authority.sign_between(2000, 2001)), "/old/cert.pem: it has expired, renew it"),
    ] {
        let folder = authority.certificates(name, own.as_ref());
        let error = connect(endpoint.clone(), Tls::from_folder(&folder).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().starts_with(&format!("{endpoint} re")), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn tls_and_plain_http_are_not_mixed() {
    let plain = Server::builder().tcp(true).start().unwrap();
    let authority = Authority::new();
    let own = Tls::from_folder(authority.certificates("watcher", None)).unwrap();
    let error = connect(plain.tcp_endpoint().unwrap(), own).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotThisEngine);
    assert!(error.to_string().contains("does not speak TLS: check the port"), "{error}");

    let (address, _serving) = authority.serve(&plain, &authority.sign("localhost")).await;
    let error = connect_with(Client::new(format!("tcp://{address}")).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotThisEngine);
    assert!(error.to_string().contains("if it expects TLS, use https://"), "{error}");
}

#[tokio::test]
async fn an_engine_that_answers_plain_http_once_expects_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
            // As dockerd does with --tlsverify: Go's server.
            let answer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }));
    let error = connect_with(Client::new(&endpoint).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotThisEngine);
    assert!(error.to_string().starts_with(&format!("{endpoint} expects TLS: use https://")), "{error}");
}

#[tokio::test]
async fn a_context_has_its_own_certificates_and_can_skip_verification() {
    let engine = Server::builder().id("whale").start().unwrap();
    let authority = Authority::new();
    // For another name, so that it is valid only without verification.
    let (address, _serving) = authority.serve(&engine, &authority.sign("whale")).await;
    let folder = authority.folder.path();
    for (skips, id) in [(false, None), (true, Some("whale"))] {
        let name = format!("skips-{skips}");
        let meta = format!(
            r#"{{"Name":"{name}","Endpoints":{{"docker":{{"Host":"tcp://{address}","SkipTLSVerify":{skips}}}}}}}"#
        );
        fs::create_dir_all(folder.join("contexts/meta").join(&name)).unwrap();
        fs::write(folder.join("contexts/meta").join(&name).join("meta.json"), meta).unwrap();
        let tls = folder.join("contexts/tls").join(&name);
        fs::create_dir_all(&tls).unwrap();
        fs::rename(authority.certificates(&name, Some(&authority.sign("me"))), tls.join("docker")).unwrap();
        let context = Contexts::in_folder(folder).get(&name).unwrap();
        let connected = connect_with(Client::builder().context(context).build().unwrap()).await;
        assert_eq!(connected.map(|connection| connection.identity().id).ok().as_deref(), id);
    }
}

#[test]
fn a_key_is_in_no_error_and_not_in_debug() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("watcher");
    let secret = key.lines().nth(1).unwrap();
    let broken = key.replace("-----END", "----END");
    for own in [
        (certificate.clone(), key.clone()),
        (certificate.clone(), broken),
        (certificate.clone(), format!("-----BEGIN {secret}")),
        (key.clone(), key.clone()),
        (authority.sign("other").0, key.clone()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cert.pem"), &own.0).unwrap();
        fs::write(folder.path().join("key.pem"), &own.1).unwrap();
        fs::write(folder.path().join("ca.pem"), &authority.ca).unwrap();
        let tls = Tls::from_folder(folder.path());
        let printed = format!("{tls:?} {:?}", tls.as_ref().map_err(ToString::to_string));
        assert!(!printed.contains(secret), "{printed}");
        if own.0 == certificate && own.1 == key {
            let client = Client::builder().endpoint("tcp://whale").tls(tls.unwrap());
            assert!(!format!("{client:?}").contains(secret));
            assert!(!format!("{:?}", client.build()).contains(secret));
        } else {
            assert!(tls.unwrap_err().to_string().contains(".pem cannot be used for TLS: "));
        }
    }
}
