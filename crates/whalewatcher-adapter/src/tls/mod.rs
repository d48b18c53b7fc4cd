//! TLS to a server: the authorities to trust, and the client's own certificate. [`Acceptor`] is the other side.

mod acceptor;
mod error;
mod unverified;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{self, ClientConfig, InconsistentKeys, RootCertStore};
use whalewatcher_core::{EngineError, ErrorKind, Printable};

pub use acceptor::Acceptor;
pub use error::Server;
use error::{VERSION_1, is_version_1};
use unverified::Unverified;

/// The authorities to trust, and the client's own certificate. The server's certificate is always verified,
/// except with a context of Docker's tools that was made with `skip-tls-verify`.
///
/// Files are read again for each attempt to connect, so certificates can be replaced meanwhile.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    files: Arc<Files>,
    source: Arc<Source>,
    verifies: bool,
    /// Whether HTTP/2 is demanded of the server.
    http2: bool,
}

/// What certificates are read from.
#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Files { ca: Option<PathBuf>, own: Option<(PathBuf, PathBuf)> },
}

/// Where certificates come from: for errors.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The authorities; `None` for those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate, if it has one.
    pub(crate) certificate: Option<PathBuf>,
    /// Where one is expected.
    pub(crate) folder: Option<PathBuf>,
}

impl Tls {
    /// Reads a folder as Docker's tools have it (`DOCKER_CERT_PATH`): `ca.pem` has the authorities to trust,
    /// by default those of the system; `cert.pem` and `key.pem` have the client's certificate, for a server
    /// that requires one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if a file cannot be read, its content does not match its name, or there is none.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, EngineError> {
        Self::in_folder(folder.as_ref(), true)
    }

    /// Reads files in PEM: `ca` has the authorities to trust, by default those of the system; `certificate`
    /// and `key` are the client's, for a server that requires them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if a file cannot be read, its content is something else, or one of
    /// `certificate` and `key` is missing.
    pub fn from_files(
        ca: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Self, EngineError> {
        let own = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.to_owned(), key.to_owned())),
            (Some(certificate), None) => return Err(wrong(certificate, "its key is missing")),
            (None, Some(key)) => return Err(wrong(key, "the certificate of this key is missing")),
        };
        Self::new(Source::Files { ca: ca.map(Path::to_owned), own }, true)
    }

    /// Trusts the authorities that the system trusts, without a client certificate.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the system has no certificates.
    pub fn from_system() -> Result<Self, EngineError> {
        Self::new(Source::Files { ca: None, own: None }, true)
    }

    /// Reads a [folder](Self::from_folder), or takes what the system trusts. Unless it `verifies`, any
    /// certificate is accepted.
    ///
    /// # Errors
    ///
    /// As [`from_folder`](Self::from_folder) and [`from_system`](Self::from_system).
    pub fn of_context(folder: Option<&Path>, verifies: bool) -> Result<Self, EngineError> {
        match folder {
            Some(folder) => Self::in_folder(folder, verifies),
            None => Self::new(Source::Files { ca: None, own: None }, verifies),
        }
    }

    /// Demands that the server speaks HTTP/2 (by ALPN), as gRPC requires.
    #[must_use]
    pub fn with_http2(mut self) -> Self {
        self.http2 = true;
        Arc::make_mut(&mut self.config).alpn_protocols = vec![b"h2".to_vec()];
        self
    }

    /// Reads the files again. Blocks.
    ///
    /// # Errors
    ///
    /// As when they were first read.
    pub fn renewed(&self) -> Result<Self, EngineError> {
        match &*self.source {
            // Those of the system, which are many.
            Source::Files { ca: None, own: None } => Ok(self.clone()),
            _ => {
                let renewed = Self::from_source(self.source.clone(), self.verifies)?;
                Ok(if self.http2 { renewed.with_http2() } else { renewed })
            }
        }
    }

    fn new(source: Source, verifies: bool) -> Result<Self, EngineError> {
        Self::from_source(Arc::new(source), verifies)
    }

    fn from_source(source: Arc<Source>, verifies: bool) -> Result<Self, EngineError> {
        let (files, own) = match &*source {
            Source::Folder(folder) => Self::find(folder)?,
            Source::Files { ca, own } => (Files { ca: ca.clone(), ..Files::default() }, own.clone()),
        };
        let (config, files) = Self::read(files, own, verifies)?;
        Ok(Self { config: Arc::new(config), files: Arc::new(files), source, verifies, http2: false })
    }

    fn in_folder(folder: &Path, verifies: bool) -> Result<Self, EngineError> {
        Self::new(Source::Folder(folder.to_owned()), verifies)
    }

    /// Returns the files of a folder, and of these the client's certificate and key.
    fn find(folder: &Path) -> Result<(Files, Option<(PathBuf, PathBuf)>), EngineError> {
        let [ca, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
        // One that is not readable exists.
        let exists = |path: &Path| path.try_exists().unwrap_or(true);
        let own = match (exists(&certificate), exists(&key)) {
            (false, false) if !exists(&ca) => {
                return Err(wrong(folder, "there is no ca.pem, cert.pem or key.pem"));
            }
            (false, false) => None,
            (true, true) => Some((certificate, key)),
            _ => return Err(wrong(folder, "cert.pem and key.pem belong together, and one is missing")),
        };
        let files = Files { ca: exists(&ca).then_some(ca), folder: Some(folder.into()), certificate: None };
        Ok((files, own))
    }

    fn read(
        mut files: Files,
        own: Option<(PathBuf, PathBuf)>,
        verifies: bool,
    ) -> Result<(ClientConfig, Files), EngineError> {
        // Named, because with several providers in a program there is no default one.
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                let message = format!("TLS cannot be used: {error}");
                EngineError::new(ErrorKind::Configuration, message).with_source(error)
            })?;
        let config = if verifies {
            config.with_root_certificates(files.ca.as_deref().map_or_else(system_roots, roots)?)
        } else {
            config.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider.clone())))
        };
        let config = match own {
            Some((certificate, key)) => {
                let own = Arc::new(SingleCertAndKey::from(own_certificate(&certificate, &key, &provider)?));
                files.certificate = Some(certificate);
                config.with_client_cert_resolver(own)
            }
            None => config.with_no_client_auth(),
        };
        Ok((config, files))
    }

    /// Starts TLS on a connection to `host`.
    ///
    /// # Errors
    ///
    /// If that fails, also because the name is no name of a host; [`explain`](Self::explain) describes the error.
    pub async fn secure<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        stream: S,
        host: &str,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }

    /// Describes an error that TLS caused, and what to do about it; `None` for any other.
    #[must_use]
    pub fn explain(
        &self,
        server: &Server,
        endpoint: &dyn fmt::Display,
        error: &(dyn Error + 'static),
    ) -> Option<EngineError> {
        error::explain(&self.files, server, endpoint, error)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    fs::read(path).map_err(|error| wrong(path, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(path, "it contains no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(path, error)),
    }
}

fn roots(path: &Path) -> Result<RootCertStore, EngineError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| wrong(path, error))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, EngineError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let message = "the system has no certificates to trust: install them, or name a file with those to trust (ca.pem)";
        return Err(EngineError::new(ErrorKind::Configuration, message));
    }
    Ok(roots)
}

/// Reads the client's certificate with its key.
fn own_certificate(
    certificate: &Path,
    key: &Path,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<CertifiedKey, EngineError> {
    let chain = certificates(certificate)?;
    // The reason is left out, because it may quote the file.
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| wrong(key, "it contains no private key, or one that is encrypted"))?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            wrong(key, format!("it is not the key of {}", Printable(&certificate.to_string_lossy())))
        }
        rustls::Error::InvalidCertificate(why) if is_version_1(&why) => wrong(certificate, VERSION_1),
        rustls::Error::InvalidCertificate(why) => wrong(certificate, why),
        error => wrong(key, error),
    })
}

fn wrong(path: &Path, why: impl fmt::Display) -> EngineError {
    let message = format!("{} cannot be used for TLS: {why}", Printable(&path.to_string_lossy()));
    EngineError::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_1_CERTIFICATE: &str = include_str!("../../tests/tls/version-1.pem");
    const VERSION_1_KEY: &str = include_str!("../../tests/tls/version-1.key");

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn unusable_files_are_reported_by_name() {
        let own = rcgen::generate_simple_self_signed(["whale".to_owned()]).unwrap();
        let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let other_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (files, reason) in [
            (&[][..], "there is no ca.pem"),
            (&[("ca.pem", "")][..], "ca.pem cannot be used for TLS: it contains no certificate"),
            (&[("ca.pem", &certificate), ("cert.pem", &certificate)], "belong together"),
            (
                &[("ca.pem", &certificate), ("cert.pem", &certificate), ("key.pem", "?")],
                "key.pem cannot be used for TLS: it contains no private key, or one that is encrypted",
            ),
            (
                &[("ca.pem", &certificate), ("cert.pem", &certificate), ("key.pem", &other_key)],
                "key.pem cannot be used for TLS: it is not the key of /",
            ),
            (
                &[("cert.pem", VERSION_1_CERTIFICATE), ("key.pem", VERSION_1_KEY)],
                "cert.pem cannot be used for TLS: it is of X.509 version 1",
            ),
        ] {
            let error = Tls::from_folder(folder(files).path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(reason), "{error}");
        }
        let good = [("ca.pem", certificate.as_str()), ("cert.pem", &certificate), ("key.pem", &key)];
        assert!(Tls::from_folder(folder(&good).path()).is_ok());
        assert!(Tls::from_folder(folder(&good[..1]).path()).is_ok());
    }

    #[test]
    fn named_files_have_to_exist_and_a_certificate_needs_its_key() {
        let own = rcgen::generate_simple_self_signed(["whale".to_owned()]).unwrap();
        let files = [("c", &*own.cert.pem()), ("k", &*own.signing_key.serialize_pem())];
        let folder = folder(&files);
        let [certificate, key, missing] = ["c", "k", "missing"].map(|name| folder.path().join(name));
        let (certificate, key) = (Some(&*certificate), Some(&*key));
        assert!(Tls::from_files(certificate, certificate, key).is_ok());
        for (ca, certificate, key, reason) in [
            (Some(&*missing), None, None, "missing cannot be used for TLS: No such file"),
            (key, None, None, "k cannot be used for TLS: it contains no certificate"),
            (certificate, certificate, None, "c cannot be used for TLS: its key is missing"),
            (certificate, None, key, "k cannot be used for TLS: the certificate of this key is missing"),
        ] {
            let error = Tls::from_files(ca, certificate, key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
