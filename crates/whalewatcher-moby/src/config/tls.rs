//! TLS to an engine: the authorities to trust, and the client's own certificate.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use whalewatcher_core::{EngineError, ErrorKind, Printable};

/// The authorities to trust, and the client's own certificate. The engine's certificate is always verified.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads a folder as Docker's tools have it (`DOCKER_CERT_PATH`): `ca.pem` has the authorities to trust, by default those
    /// of the system; `cert.pem` and `key.pem` have the client's certificate, for an engine that requires one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if a file cannot be read, its content does not match its name, or there is none.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, EngineError> {
        let folder = folder.as_ref();
        let [ca, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
        let (ca, certificate, key) = (read(&ca)?, read(&certificate)?, read(&key)?);
        if ca.is_none() && certificate.is_none() && key.is_none() {
            let why = "there is no ca.pem, cert.pem or key.pem";
            return Err(wrong(folder, why));
        }
        let roots = match ca {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(&pem).map_err(|error| wrong(&folder.join("ca.pem"), error))? {
                    roots.add(certificate).map_err(|error| wrong(&folder.join("ca.pem"), error))?;
                }
                roots
            }
            None => system_roots()?,
        };
        match (certificate, key) {
            (None, None) => Self::new(roots, None),
            (Some(certificate), Some(key)) => {
                let chain =
                    certificates(&certificate).map_err(|error| wrong(&folder.join("cert.pem"), error))?;
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|error| wrong(&folder.join("key.pem"), error))?;
                Self::new(roots, Some((chain, key)))
            }
            _ => Err(wrong(folder, "cert.pem and key.pem belong together, and one is missing")),
        }
    }

    /// Trusts the authorities that the system trusts, without a client certificate.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the system has no certificates.
    pub fn from_system() -> Result<Self, EngineError> {
        Self::new(system_roots()?, None)
    }

    fn new(
        roots: RootCertStore,
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, EngineError> {
        // Named, because with several providers in a program there is no default one.
        let provider = Arc::new(ring::default_provider());
        let unusable = |error| {
            EngineError::new(ErrorKind::Configuration, format!("TLS cannot be used: {error}"))
                .with_source(error)
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots);
        let config = match own {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(unusable)?,
            None => config.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }

    /// Starts TLS on a connection to `host`.
    pub(crate) async fn secure(&self, stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").finish_non_exhaustive()
    }
}

/// Reads a file, if it exists.
fn read(path: &Path) -> Result<Option<Vec<u8>>, EngineError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(path, error)),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("it contains no certificate".into()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

fn system_roots() -> Result<RootCertStore, EngineError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let message =
            "the system has no certificates to trust: install them, or put a ca.pem into DOCKER_CERT_PATH";
        return Err(EngineError::new(ErrorKind::Configuration, message));
    }
    Ok(roots)
}

fn wrong(path: &Path, why: impl fmt::Display) -> EngineError {
    let message = format!("{} cannot be used for TLS: {why}", Printable(&path.to_string_lossy()));
    EngineError::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (files, reason) in [
            (&[][..], "there is no ca.pem"),
            (&[("ca.pem", "")][..], "ca.pem cannot be used for TLS: it contains no certificate"),
            (&[("ca.pem", &certificate), ("cert.pem", &certificate)], "belong together"),
            (
                &[("ca.pem", &certificate), ("cert.pem", &certificate), ("key.pem", "?")],
                "key.pem cannot be used",
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
}
