//! The server over TCP: its tokens, certificates and hosts, and what is refused.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use whalewatcher_testkit::docker::Server;

use crate::http::ask;
use crate::program::run;
use crate::serve::{Events, Serving};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Returns the address in the next note, which is served at.
async fn address(serving: &mut Serving, scheme: &str) -> SocketAddr {
    let line = serving.program.error_line().await;
    let address = line.strip_prefix(&format!("whalewatcher: serving at {scheme}://"));
    address.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

fn token_file(folder: &Path, mode: u32) -> String {
    let path = folder.join("token");
    fs::write(&path, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn over_tcp_a_client_has_the_token_and_calls_this_host_by_its_name() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(folder.path(), 0o600);
    let options =
        ["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--token-file", &token, "--allow-host", "whale"];
    let mut serving = Serving::start(&[&engine.endpoint()], &options).await;
    let addresses = [address(&mut serving, "http").await, address(&mut serving, "http").await];
    serving.until_ready().await;
    let bearer = format!("Bearer {TOKEN}");
    for address in addresses {
        let get = async |path: &str, host: &str, token: Option<&str>| {
            let headers: Vec<_> =
                [("host", host)].into_iter().chain(token.map(|token| ("authorization", token))).collect();
            ask(TcpStream::connect(address).await.unwrap(), path, &headers).await.unwrap()
        };
        for (path, host, token, status) in [
            ("/v1/containers", "localhost", Some(&*bearer), 200),
            ("/v1/containers", "whale:9080", Some(&*bearer), 200),
            ("/v1/containers", "evil.example", Some(&*bearer), 421),
            ("/v1/containers", "localhost", Some("Bearer 0123456789abcdef0123456789abcdeX"), 401),
            ("/v1/containers", "localhost", None, 401),
            ("/v1/events", "localhost", None, 401),
            ("/nothing", "localhost", None, 401),
            ("/healthz", "localhost", None, 200),
            ("/", "localhost", None, 200),
            ("/page/page.js", "localhost", None, 200),
            ("/page/nothing", "localhost", None, 404),
            ("/page/../v1/containers", "localhost", None, 404),
        ] {
            let answer = get(path, host, token).await;
            assert_eq!(answer.status().as_u16(), status, "{path} {host} {token:?}");
            assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
        }
    }
    // The unix socket has no names and needs no token.
    let unix = UnixStream::connect(serving.folder.path().join("s")).await.unwrap();
    assert_eq!(ask(unix, "/v1/containers", &[("host", "any")]).await.unwrap().status(), StatusCode::OK);
    let headers = [("host", "localhost"), ("authorization", &*bearer)];
    let stream = TcpStream::connect(addresses[0]).await.unwrap();
    let mut events = Events::of(ask(stream, "/v1/events", &headers).await.unwrap());
    events.until("snapshot").await;
    serving.program.signal(Signal::TERM);
    while events.next().await.is_some() {}
    let ended = serving.program.ended().await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
}

/// An authority, and a folder with certificates that it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

impl Authority {
    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), ca }
    }

    /// Returns a certificate for `localhost`, and its key, in PEM.
    fn sign(&self, last_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(last_year, 1, 1);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Asks as a client that trusts this authority.
    async fn get(
        &self,
        address: SocketAddr,
        own: Option<&(String, String)>,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(address).await.unwrap();
        let name = "localhost".to_owned().try_into().unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let headers = [&[("host", "localhost")], headers].concat();
        // The error of TLS is its source.
        ask(stream, path, &headers).await.map_err(|error| format!("{error:?}"))
    }
}

/// Writes files into a folder, and returns their paths.
fn write<const N: usize>(folder: &Path, files: [(&str, &str); N]) -> [String; N] {
    files.map(|(name, text)| {
        let path: PathBuf = folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

#[tokio::test]
async fn over_tls_a_client_has_a_certificate_of_the_authority() {
    let engine = Server::builder().start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::named("own"), Authority::named("other"));
    let (certificate, key) = authority.sign(4000);
    let [ca, certificate, key] =
        write(folder.path(), [("ca", &authority.ca), ("c", &certificate), ("k", &key)]);
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--listen-cert",
        &certificate,
        "--listen-key",
        &key,
        "--listen-client-ca",
        &ca,
    ];
    let mut serving = Serving::start(&[&engine.endpoint()], &options).await;
    let address = address(&mut serving, "https").await;
    serving.until_ready().await;
    // It does not delay others, nor the end.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
    let own = authority.sign(4000);
    let answer = authority.get(address, Some(&own), "/v1/containers", &[]).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let wrong_host = authority.get(address, Some(&own), "/", &[("host", "other")]).await.unwrap();
    assert_eq!(wrong_host.status(), StatusCode::BAD_REQUEST);
    for (refused, alert) in [
        (None, "CertificateRequired"),
        (Some(authority.sign(2000)), "CertificateExpired"),
        (Some(other.sign(4000)), "UnknownCA"),
    ] {
        let error = authority.get(address, refused.as_ref(), "/healthz", &[]).await.err();
        assert!(error.as_ref().is_some_and(|error| error.contains(alert)), "{alert}: {error:?}");
    }
    let mut events = Events::of(authority.get(address, Some(&own), "/v1/events", &[]).await.unwrap());
    events.until("snapshot").await;
    serving.program.signal(Signal::TERM);
    while events.next().await.is_some() {}
    let ended = serving.program.ended().await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
}

#[tokio::test]
async fn with_a_token_file_a_client_with_a_certificate_needs_the_token_too() {
    let engine = Server::builder().start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::named("own");
    let (certificate, key) = authority.sign(4000);
    let [ca, certificate, key] =
        write(folder.path(), [("ca", &authority.ca), ("c", &certificate), ("k", &key)]);
    let token = token_file(folder.path(), 0o644);
    let options = [
        "--listen",
        "0.0.0.0:0",
        "--listen-cert",
        &certificate,
        "--listen-key",
        &key,
        "--listen-client-ca",
        &ca,
        "--token-file",
        &token,
    ];
    let mut serving = Serving::start(&[&engine.endpoint()], &options).await;
    let address = SocketAddr::from(([127, 0, 0, 1], address(&mut serving, "https").await.port()));
    let warning = serving.program.error_line().await;
    assert_eq!(warning, format!("whalewatcher: --token-file {token}: every user of this host can read it"));
    let own = authority.sign(4000);
    let bearer = format!("Bearer {TOKEN}");
    for (own, headers, expected) in [
        (Some(&own), &[("authorization", &*bearer)][..], Some(200)),
        (Some(&own), &[], Some(401)),
        (None, &[("authorization", &*bearer)], None),
    ] {
        let answer = authority.get(address, own, "/v1/containers", headers).await;
        assert_eq!(answer.ok().map(|answer| answer.status().as_u16()), expected);
    }
}

#[tokio::test]
async fn what_would_be_open_to_everyone_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(folder.path(), 0o600);
    let [empty, short] = write(folder.path(), [("empty", "\n"), ("short", "secret")]);
    let socket = folder.path().join("s");
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    for (options, status, reason) in [
        (
            &["--listen", "127.0.0.1:0"][..],
            2,
            "--listen 127.0.0.1:0: clients need a token or a certificate there",
        ),
        (&["--listen", "0.0.0.0:0", "--token-file", &token], 2, "other hosts could read the token"),
        (&["--listen", "[::]:0", "--token-file", &token], 2, "other hosts could read the token"),
        (&["--token-file", &token], 2, "for clients over TCP: --listen ADDRESS"),
        (&["--allow-host", "whale"], 2, "for clients over TCP: --listen ADDRESS"),
        (&["--listen", "127.0.0.1:0", "--listen-cert", "c"], 2, "--listen-key <FILE>"),
        (&["--listen", "127.0.0.1:0", "--listen-client-ca", "c"], 2, "--listen-cert <FILE>"),
        (&["--listen", "localhost"], 2, "invalid socket address"),
        (&["--listen", "127.0.0.1:0", "--token-file", &empty], 1, "there is no token"),
        (&["--listen", "127.0.0.1:0", "--token-file", &short], 1, "a token has at least 16 characters"),
        (&["--listen", "127.0.0.1:0", "--token-file", missing], 1, "missing: No such file"),
        (
            &[
                "--listen",
                "127.0.0.1:0",
                "--listen-cert",
                missing,
                "--listen-key",
                &token,
                "--token-file",
                &token,
            ],
            1,
            "missing cannot be used for TLS: No such file",
        ),
    ] {
        let arguments =
            [&["serve", "-H", "/no/such.sock", "--socket", socket.to_str().unwrap()], options].concat();
        let ended = run(&arguments).await;
        assert_eq!(ended.code, Some(status), "{options:?}: {ended:?}");
        assert!(ended.stderr.contains(reason) && !ended.stderr.contains("secret"), "{options:?}: {ended:?}");
        assert!(!socket.exists(), "{options:?}");
    }
}
