//! Watches.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Streaming};
use whalewatcher_adapter::grpc::{Fields, Limit};
use whalewatcher_api::etcd::etcdserverpb::watch_request::RequestUnion;
use whalewatcher_api::etcd::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use whalewatcher_api::etcd::mvccpb;

use super::Client;
use super::connection::Connection;
use super::error::{self, Error, ErrorKind};
use super::kv::{Header, KeyValue, end_of};

/// Of one message. etcd splits larger ones than its limit of a request, 1.5 MiB unless configured.
const LIMIT: Limit =
    Limit { bytes: 32 * 1024 * 1024, decoded: 32 * 1024 * 1024, fields: Fields { outer: 256, inner: 64 } };

/// How many requests wait to be sent.
const REQUESTS: usize = 4;

/// The changes of all keys with a prefix, from a revision on. Dropping it ends it.
pub struct Watch {
    client: Client,
    connection: Arc<Connection>,
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    /// The pieces of a message that etcd has split.
    pieces: Vec<Change>,
}

/// What a watch returns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchAnswer {
    /// Of the answer. With changes, all up to its revision are delivered. Without changes it is an answer to
    /// [`request_progress`](Watch::request_progress), or etcd's own progress notification: members before
    /// 3.4.25 and 3.5.8 may send that before older changes.
    pub header: Header,
    /// The changes, in order; those of one revision come together.
    pub changes: Vec<Change>,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put(KeyValue),
    /// It was deleted; of its value nothing is left.
    Delete {
        /// The key.
        key: String,
        /// The revision.
        revision: i64,
    },
}

impl Client {
    /// Watches all keys with a prefix, from this revision on, which may be in the past.
    ///
    /// # Errors
    ///
    /// As every call. That the revision is compacted may be the error of the first [`next`](Watch::next).
    pub async fn watch(&self, prefix: &str, from_revision: i64) -> Result<Watch, Error> {
        let connection = self.connection().await?;
        let watch = match self.watch_on(&connection, prefix, from_revision).await {
            Err(error) if error.kind() == ErrorKind::AuthenticationFailed && self.config().user.is_some() => {
                connection.authenticate(self.config()).await?;
                self.watch_on(&connection, prefix, from_revision).await
            }
            watch => watch,
        };
        if watch.as_ref().is_err_and(Error::is_of_member) {
            self.give_up(&connection).await;
        }
        watch
    }

    async fn watch_on(
        &self,
        connection: &Arc<Connection>,
        prefix: &str,
        from_revision: i64,
    ) -> Result<Watch, Error> {
        let what = "a watch";
        let create = WatchCreateRequest {
            key: prefix.into(),
            range_end: end_of(prefix),
            start_revision: from_revision,
            progress_notify: true,
            fragment: true,
            ..Default::default()
        };
        let (requests, waiting) = mpsc::channel(REQUESTS);
        let first = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let outgoing = stream::iter([first])
            .chain(stream::unfold(waiting, async |mut waiting| Some((waiting.recv().await?, waiting))));
        let opening = async {
            let calls = connection.stream_calls(LIMIT);
            let mut answers = calls.watch().watch(calls.request(outgoing)).await?.into_inner();
            // The first answer says that the watch is created, or why not.
            let answer = answers.message().await?;
            Ok((answers, answer))
        };
        let opened = timeout(self.config().call_limit, opening)
            .await
            .map_err(|_| Error::timed_out(what, connection.member()))?;
        let (answers, answer) = match opened {
            Ok(opened) => opened,
            Err(status) => return Err(connection.error(self.config(), what, &status).await),
        };
        let watch = Watch {
            client: self.clone(),
            connection: connection.clone(),
            requests,
            answers,
            pieces: Vec::new(),
        };
        let answer = answer.ok_or_else(|| watch.ended())?;
        if answer.canceled {
            return Err(watch.canceled(&answer));
        }
        Ok(watch)
    }
}

impl Watch {
    /// Returns the next changes. Cancel safe.
    ///
    /// # Errors
    ///
    /// If the watch ended: the connection was lost, the member has no leader, the revision is
    /// [compacted](ErrorKind::Compacted). There is nothing to be expected of it afterwards; the next watch is
    /// made at another member, if that may do better.
    pub async fn next(&mut self) -> Result<WatchAnswer, Error> {
        let answer = self.next_answer().await;
        if answer.as_ref().is_err_and(Error::is_of_member) {
            self.client.give_up(&self.connection).await;
        }
        answer
    }

    async fn next_answer(&mut self) -> Result<WatchAnswer, Error> {
        loop {
            let answer = match self.answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err(self.ended()),
                Err(status) => {
                    return Err(self.connection.error(self.client.config(), "a watch", &status).await);
                }
            };
            if answer.canceled {
                return Err(self.canceled(&answer));
            }
            let header = answer.header.into();
            let changes = answer.events.into_iter().filter_map(change);
            self.pieces.extend(changes);
            if !answer.fragment && !answer.created {
                return Ok(WatchAnswer { header, changes: std::mem::take(&mut self.pieces) });
            }
        }
    }

    /// Requests an answer without changes, which shows that the watch still works, once all changes before it
    /// are delivered. Does nothing if some of these requests are not sent yet.
    pub fn request_progress(&self) {
        let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
        // Full, or ended: `next` returns that.
        let _ = self.requests.try_send(WatchRequest { request_union: Some(request) });
    }

    /// Returns the address of the member that it watches.
    #[must_use]
    pub fn member(&self) -> String {
        self.connection.member().to_string()
    }

    fn ended(&self) -> Error {
        let message = format!("etcd at {} ended the watch", self.connection.member());
        Error::new(ErrorKind::Unreachable, message)
    }

    fn canceled(&self, answer: &WatchResponse) -> Error {
        if answer.compact_revision > 0 {
            let revision = answer.compact_revision;
            let message =
                format!("etcd has compacted what was to be watched: the oldest revision is {revision}");
            return Error::new(ErrorKind::Compacted { revision }, message);
        }
        // The text of a status, such as "rpc error: code = PermissionDenied desc = etcdserver: permission denied".
        let reason = answer.cancel_reason.rsplit("etcdserver: ").next().unwrap_or_default();
        let member = self.connection.member();
        let kind = match error::kind_of(Code::Unknown, reason) {
            // etcd (3.4 to 3.6) names no reason if the user may not read the keys.
            ErrorKind::Failed if reason.trim().is_empty() => ErrorKind::PermissionDenied,
            kind => kind,
        };
        let reason =
            if reason.trim().is_empty() { "the user has no permission for these keys" } else { reason };
        let message =
            format!("etcd at {member} refuses the watch: {}", whalewatcher_adapter::Excerpt(reason));
        Error::new(kind, message)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("member", &self.member()).finish_non_exhaustive()
    }
}

fn change(event: mvccpb::Event) -> Option<Change> {
    let is_delete = event.r#type() == mvccpb::event::EventType::Delete;
    let item = KeyValue::from(event.kv?);
    Some(match is_delete {
        true => Change::Delete { key: item.key, revision: item.mod_revision },
        false => Change::Put(item),
    })
}
