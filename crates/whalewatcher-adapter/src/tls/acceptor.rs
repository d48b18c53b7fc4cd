//! TLS for clients of a server of one's own.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::SingleCertAndKey;
use whalewatcher_core::{EngineError, ErrorKind};

use super::{own_certificate, roots, wrong};

/// Accepts connections of clients over TLS, for HTTP/1.1.
#[derive(Clone)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Reads files in PEM: the server's certificate with its key, and the authorities by which clients'
    /// certificates are signed. With those, a client without such a certificate is refused; otherwise none is
    /// asked for one. A certificate is verified on each connection: none is resumed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if a file cannot be read, or its content is something else.
    pub fn from_files(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, EngineError> {
        let provider = Arc::new(ring::default_provider());
        let own = SingleCertAndKey::from(own_certificate(certificate, key, &provider)?);
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                let message = format!("TLS cannot be used: {error}");
                EngineError::new(ErrorKind::Configuration, message).with_source(error)
            })?;
        let config = match client_ca {
            Some(ca) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?.into(), provider);
                config.with_client_cert_verifier(verifier.build().map_err(|error| wrong(ca, error))?)
            }
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// Does the handshake with a client. It takes as long as the client does.
    ///
    /// # Errors
    ///
    /// If that fails, also because of the client's certificate.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>> {
        TlsAcceptor::from(self.0.clone()).accept(stream).await
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}
