//! One connection to one member.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};
use whalewatcher_adapter::grpc::{Channel, Greeting, Http2, Limit, Settings};
use whalewatcher_adapter::tls::Server;
use whalewatcher_adapter::{Chain, Excerpt};
use whalewatcher_api::etcd::etcdserverpb::AuthenticateRequest;
use whalewatcher_api::etcd::etcdserverpb::auth_client::AuthClient;
use whalewatcher_api::etcd::etcdserverpb::kv_client::KvClient;
use whalewatcher_api::etcd::etcdserverpb::lease_client::LeaseClient;
use whalewatcher_api::etcd::etcdserverpb::maintenance_client::MaintenanceClient;
use whalewatcher_api::etcd::etcdserverpb::watch_client::WatchClient;

use super::config::Config;
use super::error::{self, Error, ErrorKind};
use crate::url::Member;

const ETCD: Server = Server { name: "etcd", tls_option: "--cert-file", ca_option: "--trusted-ca-file" };

/// Pages of lists are large, and the way to a member may be long. A member that does not answer pings is
/// dead; etcd (3.4 to 3.6) refuses pings that come more often than every five seconds.
const HTTP: Settings = Settings {
    window: 1024 * 1024,
    windows: 8 * 1024 * 1024,
    keep_alive: Some((Duration::from_secs(10), Duration::from_secs(10))),
};

/// How long the end of a connection that is closed may take to be known.
const END_LIMIT: Duration = Duration::from_secs(1);

/// With this, a member that has no leader refuses calls and ends watches, in place of keeping them silent.
const REQUIRE_LEADER: (&str, &str) = ("hasleader", "true");

#[derive(Debug)]
pub(crate) struct Connection {
    http: Http2,
    member: Member,
    local: Option<IpAddr>,
    origin: Uri,
    token: Mutex<Option<MetadataValue<Ascii>>>,
}

/// Makes calls on a connection.
#[derive(Clone)]
pub(crate) struct Calls {
    channel: Channel,
    origin: Uri,
    token: Option<MetadataValue<Ascii>>,
}

macro_rules! clients {
    ($($name:ident: $client:ident,)*) => {
        impl Calls {
            $(pub(crate) fn $name(&self) -> $client<Channel> {
                // The channel has the limits.
                $client::with_origin(self.channel.clone(), self.origin.clone())
                    .max_decoding_message_size(usize::MAX)
                    .max_encoding_message_size(usize::MAX)
            })*
        }
    };
}

clients! {
    auth: AuthClient,
    kv: KvClient,
    lease: LeaseClient,
    maintenance: MaintenanceClient,
    watch: WatchClient,
}

impl Calls {
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(REQUIRE_LEADER.0, MetadataValue::from_static(REQUIRE_LEADER.1));
        if let Some(token) = &self.token {
            metadata.insert("token", token.clone());
        }
        request
    }
}

impl Connection {
    /// Connects, and authenticates if there is a user.
    pub(crate) async fn open(config: &Config, member: &Member) -> Result<Self, Error> {
        let unreachable = |error: &std::io::Error| {
            let message = format!("cannot connect to etcd at {member}: {}", Chain(error));
            Error::new(ErrorKind::Unreachable, message)
        };
        let stream = TcpStream::connect((member.host.as_str(), member.port)).await;
        let stream = stream.map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let local = stream.local_addr().ok().map(|address| address.ip());
        let (scheme, http) = match config.tls.clone() {
            Some(tls) => {
                // In a thread, since files may be on a server that does not answer.
                let renewed = spawn_blocking(move || tls.renewed()).await;
                let tls = renewed
                    .map_err(|error| {
                        let message = format!("certificates cannot be read: {error}");
                        Error::new(ErrorKind::Configuration, message)
                    })?
                    .map_err(|error| Error::of_tls(&error))?;
                let secured = tls.secure(stream, &member.host).await;
                let secured = secured.map_err(|error| match tls.explain(&ETCD, member, &error) {
                    Some(error) => Error::of_tls(&error),
                    None => unreachable(&error),
                })?;
                ("https", Http2::open(secured, HTTP).await)
            }
            None => ("http", Http2::open(stream, HTTP).await),
        };
        let http = http.map_err(|error| unreachable(&error))?;
        let origin = Uri::builder().scheme(scheme).authority(member.to_string()).path_and_query("/").build();
        let origin =
            origin.map_err(|error| Error::new(ErrorKind::Configuration, format!("{member}: {error}")))?;
        let connection = Self { http, member: member.clone(), local, origin, token: Mutex::default() };
        connection.authenticate(config).await?;
        Ok(connection)
    }

    /// Requests a token, if there is a user.
    pub(crate) async fn authenticate(&self, config: &Config) -> Result<(), Error> {
        let Some((name, password)) = config.user.clone() else { return Ok(()) };
        let password = spawn_blocking(move || password.read()).await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Configuration, format!("the password cannot be read: {error}")))
        })?;
        self.set_token(None);
        let calls = self.calls(Limit::SMALL);
        let answer = calls.auth().authenticate(calls.request(AuthenticateRequest { name, password })).await;
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.message().ends_with("authentication is not enabled") => {
                tracing::debug!(member = %self.member, "etcd has no users: the given one is not needed");
                return Ok(());
            }
            Err(status) => return Err(self.error(config, "the authentication", &status).await),
        };
        let token = answer.token.parse().map_err(|_| {
            Error::new(
                ErrorKind::Malformed,
                format!("etcd at {} returns a token that is no text", self.member),
            )
        })?;
        self.set_token(Some(token));
        Ok(())
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// The address of this end.
    pub(crate) fn local(&self) -> Option<IpAddr> {
        self.local
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.http.is_closed()
    }

    pub(crate) fn calls(&self, limit: Limit) -> Calls {
        self.calls_on(self.http.channel().limited(limit))
    }

    /// For a stream that does not end.
    pub(crate) fn stream_calls(&self, limit: Limit) -> Calls {
        self.calls_on(self.http.channel().for_stream(limit))
    }

    fn calls_on(&self, channel: Channel) -> Calls {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Calls { channel, origin: self.origin.clone(), token }
    }

    fn set_token(&self, token: Option<MetadataValue<Ascii>>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Describes why a call failed. What the server sent first says whether it is etcd, and refused
    /// certificates show with the first call only.
    pub(crate) async fn error(&self, config: &Config, what: &str, status: &Status) -> Error {
        let member = &self.member;
        match self.http.greeting() {
            Some(Greeting::Foreign(said)) if said.starts_with("\u{15}\u{3}") => {
                let message = format!("what answers at {member} speaks TLS: use etcds://");
                return Error::new(ErrorKind::NotEtcd, message);
            }
            Some(Greeting::Foreign(said)) => {
                let said = said.lines().next().unwrap_or_default();
                let message =
                    format!("what answers at {member} does not speak gRPC; it sent '{}'", Excerpt(said));
                return Error::new(ErrorKind::NotEtcd, message);
            }
            Some(Greeting::Closed) if !config.url.is_secure() => {
                let message = format!(
                    "{member} closed the connection immediately: is this etcd, and without TLS (etcds://)?"
                );
                return Error::new(ErrorKind::NotEtcd, message);
            }
            _ => {}
        }
        let explain = |error| Some(Error::of_tls(&config.tls.as_ref()?.explain(&ETCD, member, error)?));
        if let Some(error) = explain(status) {
            return error;
        }
        if !self.http.is_closed() {
            return Error::of_status(what, member, status);
        }
        // A call that came too late fails without the reason.
        let ended = timeout(END_LIMIT, self.http.ended()).await.ok().flatten();
        if let Some(error) = ended.and_then(explain) {
            return error;
        }
        if error::is_not_sent(status) {
            let why = ended.map_or_else(String::new, |error| format!(": {}", Chain(error)));
            let message = format!("{what}: lost the connection to etcd at {member}{why}");
            return Error::new(ErrorKind::Unreachable, message);
        }
        Error::of_status(what, member, status)
    }
}
