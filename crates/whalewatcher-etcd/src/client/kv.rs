//! Keys and values: queries and transactions.

use whalewatcher_adapter::grpc::{Fields, Limit};
use whalewatcher_api::etcd::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use whalewatcher_api::etcd::etcdserverpb::{self as pb, request_op, response_op};
use whalewatcher_api::etcd::mvccpb;

use super::Client;
use super::error::Error;

/// Of one answer. etcd refuses values that are larger than 1.5 MiB, but a page has many.
const LIMIT: Limit =
    Limit { bytes: 64 * 1024 * 1024, decoded: 64 * 1024 * 1024, fields: Fields { outer: 160, inner: 64 } };

/// What every answer begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The ID of the cluster, another one after the store was restored from a backup.
    pub cluster: u64,
    /// The ID of the member that answered.
    pub member: u64,
    /// The revision of the store.
    pub revision: i64,
    /// How many leaders there were.
    pub term: u64,
}

impl From<Option<pb::ResponseHeader>> for Header {
    fn from(header: Option<pb::ResponseHeader>) -> Self {
        let header = header.unwrap_or_default();
        Self {
            cluster: header.cluster_id,
            member: header.member_id,
            revision: header.revision,
            term: header.raft_term,
        }
    }
}

/// A key with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key. Bytes that are no UTF-8 are replaced, which no key of a record has.
    pub key: String,
    /// The value; empty if only keys were asked for.
    pub value: Vec<u8>,
    /// The revision at which the key was created.
    pub create_revision: i64,
    /// The revision at which it was last written.
    pub mod_revision: i64,
    /// The lease with which the key goes; 0 without one.
    pub lease: i64,
}

impl From<mvccpb::KeyValue> for KeyValue {
    fn from(it: mvccpb::KeyValue) -> Self {
        let key = String::from_utf8(it.key);
        Self {
            key: key.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            value: it.value,
            create_revision: it.create_revision,
            mod_revision: it.mod_revision,
            lease: it.lease,
        }
    }
}

/// Which keys to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(pb::RangeRequest);

impl Query {
    /// One key.
    #[must_use]
    pub fn key(key: &str) -> Self {
        Self(pb::RangeRequest { key: key.into(), ..Default::default() })
    }

    /// All keys with a prefix, in order.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self(pb::RangeRequest { key: prefix.into(), range_end: end_of(prefix), ..Default::default() })
    }

    /// Only those after this key: the next page.
    #[must_use]
    pub fn after(mut self, key: &str) -> Self {
        self.0.key = key.into();
        self.0.key.push(0);
        self
    }

    /// Only so many.
    #[must_use]
    pub fn with_limit(mut self, keys: usize) -> Self {
        self.0.limit = i64::try_from(keys).unwrap_or(i64::MAX);
        self
    }

    /// As they were at this revision; fails if that is compacted.
    #[must_use]
    pub fn at(mut self, revision: i64) -> Self {
        self.0.revision = revision;
        self
    }

    /// Without their values.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.0.keys_only = true;
        self
    }
}

/// Returns the end of the range of all keys with a prefix: the prefix with its last byte incremented.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // No byte of a text is 0xff.
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end
}

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Of the answer.
    pub header: Header,
    /// The keys, in order.
    pub items: Vec<KeyValue>,
    /// Whether there are more than the limit.
    pub has_more: bool,
}

impl From<pb::RangeResponse> for Page {
    fn from(answer: pb::RangeResponse) -> Self {
        Self {
            header: answer.header.into(),
            items: answer.kvs.into_iter().map(KeyValue::from).collect(),
            has_more: answer.more,
        }
    }
}

/// A transaction: conditions, and what to do if all are true. What it does is done at one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn(pb::TxnRequest);

impl Txn {
    /// Creates one without a condition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// On condition that the key was created at this revision; 0 if it does not exist.
    #[must_use]
    pub fn if_created_at(self, key: &str, revision: i64) -> Self {
        self.only_if(key, CompareTarget::Create, TargetUnion::CreateRevision(revision))
    }

    /// On condition that the key was last written at this revision; 0 if it does not exist.
    #[must_use]
    pub fn if_written_at(self, key: &str, revision: i64) -> Self {
        self.only_if(key, CompareTarget::Mod, TargetUnion::ModRevision(revision))
    }

    fn only_if(mut self, key: &str, target: CompareTarget, value: TargetUnion) -> Self {
        self.0.compare.push(pb::Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key: key.into(),
            target_union: Some(value),
            ..Default::default()
        });
        self
    }

    /// Writes a key.
    #[must_use]
    pub fn put(self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.put_leased(key, value, 0)
    }

    /// Writes a key that goes when the lease ends.
    #[must_use]
    pub fn put_leased(self, key: &str, value: impl Into<Vec<u8>>, lease: i64) -> Self {
        let put = pb::PutRequest { key: key.into(), value: value.into(), lease, ..Default::default() };
        self.then(request_op::Request::RequestPut(put))
    }

    /// Deletes a key.
    #[must_use]
    pub fn delete(self, key: &str) -> Self {
        let delete = pb::DeleteRangeRequest { key: key.into(), ..Default::default() };
        self.then(request_op::Request::RequestDeleteRange(delete))
    }

    /// Deletes all keys with a prefix.
    #[must_use]
    pub fn delete_prefix(self, prefix: &str) -> Self {
        let delete =
            pb::DeleteRangeRequest { key: prefix.into(), range_end: end_of(prefix), ..Default::default() };
        self.then(request_op::Request::RequestDeleteRange(delete))
    }

    /// Returns keys.
    #[must_use]
    pub fn get(self, query: Query) -> Self {
        self.then(request_op::Request::RequestRange(query.0))
    }

    /// Returns keys if a condition is not true.
    #[must_use]
    pub fn else_get(mut self, query: Query) -> Self {
        let request = Some(request_op::Request::RequestRange(query.0));
        self.0.failure.push(pb::RequestOp { request });
        self
    }

    fn then(mut self, request: request_op::Request) -> Self {
        self.0.success.push(pb::RequestOp { request: Some(request) });
        self
    }
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxnAnswer {
    /// Of the answer; its revision is that of the transaction, if it wrote anything.
    pub header: Header,
    /// Whether all conditions were true.
    pub succeeded: bool,
    /// The answers to its queries, in order.
    pub pages: Vec<Page>,
}

impl Client {
    /// Returns keys with their values.
    ///
    /// # Errors
    ///
    /// As every call; [`Compacted`](super::ErrorKind::Compacted) if the revision that was asked for is.
    pub async fn range(&self, query: &Query) -> Result<Page, Error> {
        let call = |calls: super::Calls| {
            let query = query.0.clone();
            async move { calls.kv().range(calls.request(query)).await }
        };
        Ok(self.call("a list", LIMIT, call).await?.0.into())
    }

    /// Makes a transaction.
    ///
    /// # Errors
    ///
    /// As every call. It [may be done](Error::may_be_done) all the same.
    pub async fn txn(&self, txn: &Txn) -> Result<TxnAnswer, Error> {
        let call = |calls: super::Calls| {
            let txn = txn.0.clone();
            async move { calls.kv().txn(calls.request(txn)).await }
        };
        let (answer, _) = self.call("a transaction", LIMIT, call).await?;
        let pages = answer.responses.into_iter().filter_map(|response| match response.response? {
            response_op::Response::ResponseRange(range) => Some(range.into()),
            _ => None,
        });
        Ok(TxnAnswer { header: answer.header.into(), succeeded: answer.succeeded, pages: pages.collect() })
    }
}
