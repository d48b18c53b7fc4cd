//! Leases.

use std::time::Duration;

use futures_util::stream;
use tonic::{Response, Status};
use whalewatcher_adapter::grpc::Limit;
use whalewatcher_api::etcd::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
};

use super::error::{Error, ErrorKind};
use super::{Calls, Client};

/// A lease: keys that were put with it are deleted when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The ID.
    pub id: i64,
    /// How long it lasts from the answer on, unless it is renewed. It may last longer: it begins again with
    /// each new leader of etcd.
    pub lasts: Duration,
}

impl Client {
    /// Requests a lease. etcd counts in whole seconds, and its shortest lease is about two.
    ///
    /// # Errors
    ///
    /// As every call.
    pub async fn grant(&self, lasts: Duration) -> Result<Lease, Error> {
        let ttl = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX).max(1);
        let call = |calls: Calls| async move {
            calls.lease().lease_grant(calls.request(LeaseGrantRequest { ttl, id: 0 })).await
        };
        let (answer, _) = self.call("a lease", Limit::SMALL, call).await?;
        Ok(Lease { id: answer.id, lasts: seconds(answer.ttl) })
    }

    /// Renews a lease: it lasts as long as at first, from now on.
    ///
    /// # Errors
    ///
    /// As every call; [`ErrorKind::LeaseNotFound`] if it has ended.
    pub async fn renew(&self, lease: i64) -> Result<Lease, Error> {
        let call = |calls: Calls| async move {
            let requests = stream::iter([LeaseKeepAliveRequest { id: lease }]);
            let mut answers = calls.lease().lease_keep_alive(calls.request(requests)).await?.into_inner();
            let answer: Option<LeaseKeepAliveResponse> = answers.message().await?;
            answer.map(Response::new).ok_or_else(|| Status::unavailable("the stream of renewals ended"))
        };
        let (answer, _) = self.call("the renewal of a lease", Limit::SMALL, call).await?;
        if answer.ttl <= 0 {
            return Err(Error::new(ErrorKind::LeaseNotFound, "the lease has ended"));
        }
        Ok(Lease { id: answer.id, lasts: seconds(answer.ttl) })
    }

    /// Ends a lease, and with it deletes its keys.
    ///
    /// # Errors
    ///
    /// As every call; [`ErrorKind::LeaseNotFound`] if it has ended already.
    pub async fn revoke(&self, lease: i64) -> Result<(), Error> {
        let call = |calls: Calls| async move {
            calls.lease().lease_revoke(calls.request(LeaseRevokeRequest { id: lease })).await
        };
        self.call("the end of a lease", Limit::SMALL, call).await.map(drop)
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}
