//! Hooks: a test's decisions about calls before they are answered, and about answers before they are sent.

use bytes::Bytes;
use tonic::Code;

use crate::{
    gate::Gate,
    hooks::{self, Decision},
};

/// The hooks of a gRPC server.
pub(crate) type Hooks<C> = hooks::Hooks<C, Code, Verdict>;

/// A hook's decision about a call or its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The next hook decides.
    Pass,
    /// It waits until the gate opens, then the next hook decides. Before the call, the answer is computed
    /// after that; before the answer, it was computed before.
    Hold(Gate),
    /// The call fails.
    Fail {
        /// The gRPC code.
        code: Code,
        /// The message.
        message: String,
    },
    /// These bytes are sent in place of a message.
    Garbage(Bytes),
    /// The connection is closed without an answer, with everything else on it.
    Close,
    /// There is never an answer, but the connection stays open.
    Hang,
    /// A stream sends this many messages, then the connection is closed. A single answer is not sent at all.
    Cut(usize),
    /// A stream sends this many messages, then it ends normally. Single answers are not affected.
    End(usize),
}

impl Verdict {
    /// The call fails.
    pub fn error(code: Code, message: &str) -> Self {
        Self::Fail { code, message: message.into() }
    }
}

impl Decision for Verdict {
    const PASS: Self = Self::Pass;

    fn passes(&self) -> Option<Option<&Gate>> {
        match self {
            Self::Pass => Some(None),
            Self::Hold(gate) => Some(Some(gate)),
            _ => None,
        }
    }
}
