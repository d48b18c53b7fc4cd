//! Docker over TCP with TLS: trusted or not, with and without a client certificate.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{EngineError, ErrorKind, Settings};
use whalewatcher_moby::{Client, Connection, Tls};
use whalewatcher_testkit::docker::Server;

/// A certificate authority, and folders with certificates that it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), ca, folder: tempfile::tempdir().unwrap() }
    }

    /// Returns a certificate for this name and its key, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Returns a folder as `DOCKER_CERT_PATH` names it.
    fn certificates(&self, of: Option<&str>) -> PathBuf {
        let folder = self.folder.path().join(of.unwrap_or("anonymous"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("ca.pem"), &self.ca).unwrap();
        if let Some(name) = of {
            let (certificate, key) = self.sign(name);
            fs::write(folder.join("cert.pem"), certificate).unwrap();
            fs::write(folder.join("key.pem"), key).unwrap();
        }
        folder
    }

    /// Serves an engine to clients with a certificate of this authority.
    async fn serve(&self, engine: &Server) -> (SocketAddr, AbortOnDropHandle<()>) {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let (certificate, key) = self.sign("localhost");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
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
    let client = Client::builder().endpoint(endpoint).tls(tls).build().unwrap();
    timeout(Duration::from_secs(20), client.connect(&Settings::default())).await.expect("connecting ends")
}

#[tokio::test]
async fn a_trusted_engine_is_watched() {
    let engine = Server::builder().id("whale").start().unwrap();
    engine.run("web").unwrap();
    let authority = Authority::new();
    let (address, _serving) = authority.serve(&engine).await;
    let certificates = authority.certificates(Some("watcher"));
    for scheme in ["tcp", "https"] {
        let endpoint = format!("{scheme}://localhost:{}", address.port());
        let connection = connect(endpoint, Tls::from_folder(&certificates).unwrap()).await.unwrap();
        assert_eq!(connection.identity().id, "whale");
        assert_eq!(connection.list().await.unwrap().entries.len(), 1);
    }
}

#[tokio::test]
async fn an_untrusted_engine_is_refused() {
    let engine = Server::builder().start().unwrap();
    let authority = Authority::new();
    let (address, _serving) = authority.serve(&engine).await;
    let other = Authority::new();
    let (foreign, own) = (other.certificates(Some("watcher")), authority.certificates(Some("watcher")));
    let plain = Server::builder().tcp(true).start().unwrap();
    for (endpoint, certificates, what) in [
        (format!("tcp://localhost:{}", address.port()), foreign, "signed by another authority"),
        (format!("tcp://127.0.0.1:{}", address.port()), own.clone(), "signed for another name"),
        (plain.tcp_endpoint().unwrap(), own, "no TLS at all"),
    ] {
        let error = connect(endpoint, Tls::from_folder(certificates).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotThisEngine, "{what}: {error}");
        assert!(error.to_string().starts_with("cannot agree on TLS with tcp://"), "{what}: {error}");
    }
}

#[tokio::test]
async fn an_engine_refuses_a_client_without_a_certificate() {
    let engine = Server::builder().start().unwrap();
    let authority = Authority::new();
    let (address, _serving) = authority.serve(&engine).await;
    let tls = Tls::from_folder(authority.certificates(None)).unwrap();
    let error = connect(format!("tcp://localhost:{}", address.port()), tls).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}
