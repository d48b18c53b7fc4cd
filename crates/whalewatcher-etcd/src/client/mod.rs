//! A client of etcd: just what the hub and the agent need, over one connection to one of the members.
//!
//! ```no_run
//! use whalewatcher_etcd::client::{Client, Config, Query};
//!
//! # async fn example() -> Result<(), whalewatcher_etcd::client::Error> {
//! let client = Client::new(Config::new("etcd://one,two,three".parse()?)?);
//! let page = client.range(&Query::prefix("/whalewatcher/v1/h/").with_limit(1000)).await?;
//! println!("{} keys at revision {}", page.items.len(), page.header.revision);
//! # Ok(()) }
//! ```

mod config;
mod connection;
pub(crate) mod error;
mod kv;
mod lease;
mod watch;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::{Response, Status};
use whalewatcher_adapter::grpc::Limit;
use whalewatcher_api::etcd::etcdserverpb::StatusRequest;

pub use config::{Config, Password};
use connection::{Calls, Connection};
pub use error::{Error, ErrorKind};
pub use kv::{Header, KeyValue, Page, Query, Txn, TxnAnswer};
pub use lease::Lease;
pub use watch::{Change, Watch, WatchAnswer};

/// How long connecting to one member may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A client of a cluster of etcd. Clones share the connection; dropping the last one, and what it returned, closes it.
///
/// It connects to one member with the first call. If that one fails, the next call connects to the next one:
/// a call is never repeated, except if etcd wants another token. Every call has a time limit, that of
/// [`Config::with_call_limit`] plus what connecting takes: up to three seconds for each member.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Held while connecting, so that there is one attempt at a time.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// The member to connect to next.
    next: usize,
}

/// What a member reports of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Of the answer.
    pub header: Header,
    /// The address of the member.
    pub member: String,
    /// The version of etcd, such as `3.5.16`.
    pub version: String,
    /// Whether it has a leader.
    pub has_leader: bool,
    /// The size of its database in bytes, including free pages.
    pub size: u64,
    /// The size at which it refuses to write, where it reports that: etcd 3.6 and later.
    pub quota: Option<u64>,
    /// The alarms and errors that it reports, such as `alarm:NOSPACE`.
    pub errors: Vec<String>,
}

/// What etcd takes for its quota unless it is configured.
const DEFAULT_QUOTA: u64 = 2 * 1024 * 1024 * 1024;

impl MemberStatus {
    /// Returns whether the database is larger than half its quota; if the quota is not known, than half of
    /// the usual one, 2 GiB.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        self.size > self.quota.unwrap_or(DEFAULT_QUOTA) / 2
    }
}

impl Client {
    /// Creates a client without connecting.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner { config, state: Mutex::default() }))
    }

    /// Returns how the client is configured.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Returns the status of the member that the client is connected to.
    ///
    /// # Errors
    ///
    /// As every call.
    pub async fn status(&self) -> Result<MemberStatus, Error> {
        let (answer, connection) = self
            .call("the status", Limit::SMALL, |calls| async move {
                calls.maintenance().status(calls.request(StatusRequest {})).await
            })
            .await?;
        let bytes = |size: i64| u64::try_from(size).unwrap_or_default();
        Ok(MemberStatus {
            header: answer.header.into(),
            member: connection.member().to_string(),
            version: answer.version,
            has_leader: answer.leader != 0,
            size: bytes(answer.db_size),
            quota: Some(bytes(answer.db_size_quota)).filter(|quota| *quota > 0),
            errors: answer.errors,
        })
    }

    /// Returns the address of this host that leads to the member that the client is connected to; `None`
    /// without a connection.
    pub async fn local_address(&self) -> Option<IpAddr> {
        self.0.state.lock().await.connection.as_ref()?.local()
    }

    /// Makes a call on the connection, with its time limit, and returns that connection with the answer.
    async fn call<T, F, Answering>(
        &self,
        what: &str,
        limit: Limit,
        call: F,
    ) -> Result<(T, Arc<Connection>), Error>
    where
        F: Fn(Calls) -> Answering,
        Answering: Future<Output = Result<Response<T>, Status>>,
    {
        let connection = self.connection().await?;
        let answer = self.call_on(&connection, what, limit, call).await;
        if answer.as_ref().is_err_and(Error::is_of_member) {
            self.give_up(&connection).await;
        }
        Ok((answer?, connection))
    }

    async fn call_on<T, F, Answering>(
        &self,
        connection: &Connection,
        what: &str,
        limit: Limit,
        call: F,
    ) -> Result<T, Error>
    where
        F: Fn(Calls) -> Answering,
        Answering: Future<Output = Result<Response<T>, Status>>,
    {
        let Config { call_limit, .. } = &self.0.config;
        let answer = timeout(*call_limit, async {
            let answer = match call(connection.calls(limit)).await {
                Err(status) if error::wants_another_token(&status) && self.0.config.user.is_some() => {
                    let member = connection.member();
                    tracing::debug!(%member, reason = status.message(), "etcd wants another token");
                    connection.authenticate(&self.0.config).await?;
                    call(connection.calls(limit)).await
                }
                answer => answer,
            };
            match answer {
                Ok(answer) => Ok(answer),
                Err(status) => Err(connection.error(&self.0.config, what, &status).await),
            }
        });
        let timed_out = || Error::timed_out(what, connection.member());
        answer.await.unwrap_or_else(|_| Err(timed_out())).map(Response::into_inner)
    }

    /// Returns the connection; makes one if there is none, to the first member that can be connected to.
    async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let Inner { config, state } = &*self.0;
        let mut state = state.lock().await;
        if let Some(connection) = &state.connection {
            if !connection.is_closed() {
                return Ok(connection.clone());
            }
            state.give_up(config);
        }
        let members = config.url.members();
        let mut failures: Vec<Error> = Vec::new();
        for _ in members {
            let member = &members[state.next % members.len()];
            let connecting = timeout(CONNECT_LIMIT, Connection::open(config, member)).await;
            let timed_out = || {
                Error::new(
                    ErrorKind::TimedOut,
                    format!("etcd at {member} does not answer within {CONNECT_LIMIT:?}"),
                )
            };
            match connecting.unwrap_or_else(|_| Err(timed_out())) {
                Ok(connection) => {
                    tracing::debug!(%member, "connected to etcd");
                    let connection = Arc::new(connection);
                    state.connection = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => failures.push(error),
            }
            state.next = (state.next + 1) % members.len();
        }
        // A certificate or password that is refused is to be looked at; a member that is down may be just that.
        let worst = failures.iter().position(|error| !error.is_of_member()).unwrap_or_default();
        Err(failures.swap_remove(worst))
    }

    /// Connects to another member next, unless another call has done so already.
    async fn give_up(&self, connection: &Arc<Connection>) {
        let mut state = self.0.state.lock().await;
        if state.connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            state.give_up(&self.0.config);
        }
    }
}

impl State {
    fn give_up(&mut self, config: &Config) {
        self.connection = None;
        self.next = (self.next + 1) % config.url.members().len();
    }
}
