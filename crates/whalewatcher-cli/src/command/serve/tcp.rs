//! Listening at TCP addresses, for clients with a token or a certificate.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use whalewatcher_adapter::tls::Acceptor;

use super::access::{Access, Tokens};
use super::connection::{accept_all, serve};
use crate::args::{ListenArgs, wrong};

/// How long the handshake of TLS may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How clients at TCP addresses are known.
pub(super) struct Guard {
    tls: Option<Acceptor>,
    access: Access,
    /// The warning that everyone can read the tokens.
    pub(super) warning: Option<String>,
}

impl Guard {
    /// Reads the token and the certificates; `None` if there is neither a token nor an authority of clients.
    ///
    /// # Errors
    ///
    /// If they cannot be used.
    pub(super) fn new(arguments: &ListenArgs) -> anyhow::Result<Option<Self>> {
        let ListenArgs { token_file, listen_cert, listen_key, listen_client_ca, allowed_hosts, .. } =
            arguments;
        let read = token_file.as_deref().map(Tokens::read).transpose()?;
        let tls = match (listen_cert, listen_key) {
            (Some(certificate), Some(key)) => Some(
                Acceptor::from_files(certificate, key, listen_client_ca.as_deref()).context("--listen")?,
            ),
            _ => None,
        };
        if read.is_none() && listen_client_ca.is_none() {
            return Ok(None);
        }
        let warning = read.as_ref().zip(token_file.as_ref()).and_then(|((_, is_public), path)| {
            let path = path.display();
            is_public.then(|| format!("--token-file {path}: every user of this host can read it"))
        });
        let access =
            Access { tokens: read.map(|(tokens, _)| tokens), names: allowed_hosts.as_slice().into() };
        Ok(Some(Self { tls, access, warning }))
    }
}

/// An address that is listened at.
pub(super) struct Listener {
    listener: TcpListener,
    tls: Option<Acceptor>,
    access: Access,
}

impl Listener {
    /// # Errors
    ///
    /// If clients cannot be known there, or something else listens there.
    pub(super) async fn bind(address: SocketAddr, guard: Option<&Guard>) -> anyhow::Result<Self> {
        let guard = Self::guarded(address, guard)?;
        let listener = TcpListener::bind(address).await.with_context(|| format!("--listen {address}"))?;
        Ok(Self { listener, tls: guard.tls.clone(), access: guard.access.clone() })
    }

    /// Listens at an address that the service manager has opened.
    ///
    /// # Errors
    ///
    /// If clients cannot be known there, or it cannot be used here.
    pub(super) fn passed(listener: std::net::TcpListener, guard: Option<&Guard>) -> anyhow::Result<Self> {
        let guard = Self::guarded(listener.local_addr()?, guard)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, tls: guard.tls.clone(), access: guard.access.clone() })
    }

    fn guarded(address: SocketAddr, guard: Option<&Guard>) -> anyhow::Result<&Guard> {
        let Some(guard) = guard else {
            let reason = "clients need a token or a certificate there: --token-file or --listen-client-ca";
            return Err(wrong(format!("--listen {address}: {reason}")));
        };
        if guard.tls.is_none() && !address.ip().to_canonical().is_loopback() {
            let reason = "other hosts could read the token: --listen-cert and --listen-key for TLS, or listen at 127.0.0.1";
            return Err(wrong(format!("--listen {address}: {reason}")));
        }
        Ok(guard)
    }

    /// Returns the URL at which it listens.
    pub(super) fn url(&self) -> anyhow::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.listener.local_addr()?))
    }

    /// Serves all connections, until this is dropped. Then `ending` is to be cancelled: each connection is a
    /// task that ends soon.
    pub(super) async fn serve(&self, app: Router, ending: &CancellationToken, tasks: &TaskTracker) {
        let app = self.access.limit(app);
        let accept = async || self.listener.accept().await.map(|(stream, _)| stream);
        accept_all(accept, tasks, |stream| connection(stream, self.tls.clone(), app.clone(), ending.clone()))
            .await;
    }
}

async fn connection(stream: TcpStream, tls: Option<Acceptor>, app: Router, ending: CancellationToken) {
    // Events are sent at once; it fails if the client has gone.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, app, ending).await };
    if let Some(stream) = secured(stream, &tls, &ending).await {
        serve(stream, app, ending).await;
    }
}

/// Does the handshake with a client; `None` if that fails, or the server ends meanwhile.
async fn secured<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    tls: &Acceptor,
    ending: &CancellationToken,
) -> Option<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>> {
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE_LIMIT, tls.accept(stream)) => accepted,
        () = ending.cancelled() => return None,
    };
    match accepted {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "a client is refused"),
        Err(_) => tracing::debug!("a client does not complete the handshake of TLS"),
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn half_a_handshake_has_a_time_limit() {
        let folder = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let [certificate, key] = ["c", "k"].map(|name| folder.path().join(name));
        fs::write(&certificate, own.cert.pem()).unwrap();
        fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let tls = Acceptor::from_files(&certificate, &key, None).unwrap();
        let (mut client, server) = duplex(1 << 10);
        // The beginning of a message of a handshake.
        client.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
        let begin = Instant::now();
        assert!(secured(server, &tls, &CancellationToken::new()).await.is_none());
        assert_eq!(begin.elapsed(), HANDSHAKE_LIMIT);
        let (_client, server) = duplex(1 << 10);
        let ending = CancellationToken::new();
        ending.cancel();
        assert!(secured(server, &tls, &ending).await.is_none());
        assert_eq!(begin.elapsed(), HANDSHAKE_LIMIT);
    }
}
