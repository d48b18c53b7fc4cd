//! Errors of etcd and of the connection to it.

use std::error;
use std::fmt;

use tonic::{Code, Status};
use whalewatcher_adapter::grpc::TooLarge;
use whalewatcher_adapter::{Chain, Excerpt, find_cause};
use whalewatcher_core::EngineError;

/// Why a call failed. The message is one line that says what failed and, where that is known, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    maybe_done: bool,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong: a URL, a certificate's file, a password's file.
    Configuration,
    /// No member can be connected to, or the connection was lost.
    Unreachable,
    /// A certificate was refused, the member's or the client's, or TLS could not be agreed on.
    CertificateRefused,
    /// What answers is not etcd, or speaks TLS where none is expected.
    NotEtcd,
    /// User and password are wrong or missing.
    AuthenticationFailed,
    /// The user has no permission for the key.
    PermissionDenied,
    /// The member has no leader: it is cut off from the majority, or there is none.
    NoLeader,
    /// The database is full (etcd's alarm `NOSPACE`): nothing can be written until room is made.
    NoSpace,
    /// The revision that was asked for is compacted.
    Compacted {
        /// The oldest revision that is still there; 0 if that is not known.
        revision: i64,
    },
    /// The revision that was asked for does not exist yet: the store was restored from an older state.
    FutureRevision,
    /// The lease has ended, or never existed.
    LeaseNotFound,
    /// The request, or the answer, is too large.
    TooLarge,
    /// No answer within the time limit.
    TimedOut,
    /// An answer cannot be understood.
    Malformed,
    /// etcd answered with another error.
    Failed,
}

impl Error {
    /// Creates an error of a call that changed nothing.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), maybe_done: false }
    }

    /// Returns what kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether what was asked for may have been done all the same: the connection was lost, or the
    /// time limit ended, after the request was sent.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        self.maybe_done
    }

    /// Returns whether another member may do better.
    pub(crate) fn is_of_member(&self) -> bool {
        use ErrorKind::{Malformed, NoLeader, NotEtcd, TimedOut, Unreachable};
        matches!(self.kind, Unreachable | TimedOut | NoLeader | NotEtcd | Malformed)
    }

    pub(crate) fn timed_out(what: &str, member: &dyn fmt::Display) -> Self {
        let message = format!("etcd at {member} does not answer {what}");
        Self { kind: ErrorKind::TimedOut, message, maybe_done: true }
    }

    /// Describes an error of TLS or of its files.
    pub(crate) fn of_tls(error: &EngineError) -> Self {
        let kind = match error.kind() {
            whalewatcher_core::ErrorKind::Configuration => ErrorKind::Configuration,
            _ => ErrorKind::CertificateRefused,
        };
        Self::new(kind, error.to_string())
    }

    /// Describes why a call, `what`, failed at a member.
    pub(crate) fn of_status(what: &str, member: &dyn fmt::Display, status: &Status) -> Self {
        if let Some(excess) = find_cause::<TooLarge>(status) {
            return Self::new(ErrorKind::TooLarge, format!("{what}: {excess}")).maybe_done();
        }
        if error::Error::source(status).is_some() {
            let message = format!("{what}: lost the connection to etcd at {member}: {}", Chain(status));
            return Self::new(ErrorKind::Unreachable, message).maybe_done();
        }
        let said = status.message();
        let said = said.strip_prefix("etcdserver: ").unwrap_or(said);
        let kind = kind_of(status.code(), said);
        let message = match kind {
            ErrorKind::NoSpace => format!(
                "etcd's database is full: compact and defragment it, then clear the alarm (etcdctl alarm disarm); {what} \
                 was refused: {}",
                Excerpt(said)
            ),
            ErrorKind::NoLeader => format!("etcd at {member} has no leader: {}", Excerpt(said)),
            ErrorKind::AuthenticationFailed if said == "user name is empty" => {
                format!("etcd at {member} demands a user and a password, or a client certificate, for {what}")
            }
            ErrorKind::AuthenticationFailed => format!("etcd refuses to authenticate: {}", Excerpt(said)),
            ErrorKind::PermissionDenied => {
                format!("etcd refuses {what}: the user has no permission for these keys")
            }
            _ if said.trim().is_empty() => format!("etcd at {member} fails {what}: {}", status.code()),
            _ => format!("etcd at {member} fails {what}: {}", Excerpt(said)),
        };
        let error = Self::new(kind, message);
        // These are decided before anything is written.
        let is_definite = matches!(
            kind,
            ErrorKind::AuthenticationFailed
                | ErrorKind::PermissionDenied
                | ErrorKind::NoSpace
                | ErrorKind::Compacted { .. }
                | ErrorKind::FutureRevision
                | ErrorKind::LeaseNotFound
                | ErrorKind::TooLarge
        );
        if is_definite { error } else { error.maybe_done() }
    }

    pub(crate) fn maybe_done(mut self) -> Self {
        self.maybe_done = true;
        self
    }
}

/// Whether etcd wants another token than the one that the request had: it has expired, was given by a member
/// that has restarted, or users were changed since.
pub(crate) fn wants_another_token(status: &Status) -> bool {
    let said = status.message();
    status.code() == Code::Unauthenticated
        || said.ends_with("invalid auth token")
        || said.ends_with("revision of auth store is old")
}

/// Whether the request was not sent, because the connection was closed before. tonic (0.14) has only this
/// text for that.
pub(crate) fn is_not_sent(status: &Status) -> bool {
    status.message().starts_with("Service was not ready")
}

/// Distinguishes errors by their texts, because several have the same code. Those are in
/// `api/v3rpc/rpctypes/error.go` of etcd and have stayed the same from 3.4 to 3.6.
pub(crate) fn kind_of(code: Code, said: &str) -> ErrorKind {
    match said {
        "mvcc: required revision has been compacted" => ErrorKind::Compacted { revision: 0 },
        "mvcc: required revision is a future revision" => ErrorKind::FutureRevision,
        "mvcc: database space exceeded" => ErrorKind::NoSpace,
        "requested lease not found" => ErrorKind::LeaseNotFound,
        "request is too large" | "too many operations in txn request" => ErrorKind::TooLarge,
        "permission denied" => ErrorKind::PermissionDenied,
        "user name is empty"
        | "authentication failed, invalid user ID or password"
        | "authentication failed, password not given"
        | "invalid auth token"
        | "revision of auth store is old" => ErrorKind::AuthenticationFailed,
        "no leader" | "not leader" | "leader changed" => ErrorKind::NoLeader,
        // A member that has lost its leader answers so to whatever needs the majority.
        _ if said.starts_with("request timed out") => ErrorKind::TimedOut,
        _ => match code {
            Code::PermissionDenied => ErrorKind::PermissionDenied,
            Code::Unauthenticated => ErrorKind::AuthenticationFailed,
            Code::DeadlineExceeded => ErrorKind::TimedOut,
            Code::Unavailable => ErrorKind::Unreachable,
            Code::Unimplemented => ErrorKind::NotEtcd,
            _ => ErrorKind::Failed,
        },
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_becomes_a_kind_and_whether_it_may_be_done() {
        for (status, kind, maybe_done) in [
            (
                Status::out_of_range("etcdserver: mvcc: required revision has been compacted"),
                ErrorKind::Compacted { revision: 0 },
                false,
            ),
            (
                Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
                ErrorKind::NoSpace,
                false,
            ),
            (Status::resource_exhausted("etcdserver: too many requests"), ErrorKind::Failed, true),
            (Status::permission_denied("etcdserver: permission denied"), ErrorKind::PermissionDenied, false),
            (
                Status::invalid_argument("etcdserver: user name is empty"),
                ErrorKind::AuthenticationFailed,
                false,
            ),
            (Status::unavailable("etcdserver: no leader"), ErrorKind::NoLeader, true),
            (
                Status::unavailable("etcdserver: request timed out, possibly due to connection lost"),
                ErrorKind::TimedOut,
                true,
            ),
            (Status::invalid_argument("etcdserver: request is too large"), ErrorKind::TooLarge, false),
            (Status::unknown("what\nelse"), ErrorKind::Failed, true),
        ] {
            let error = Error::of_status("a put", &"a:1", &status);
            assert_eq!((error.kind(), error.may_be_done()), (kind, maybe_done), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
