//! What kinds of worlds there are, and what can happen in them.

/// How an engine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Lists tell roughly; events tell names, and a moment that is later than the life's beginning.
    Docker,
    /// Lists tell all, without times; events tell PIDs; lives are told apart by PID.
    Containerd,
    /// Lists tell who is alive; events tell all but the PID. An ID has one life, as in CRI, and so with those below.
    Cri,
    /// The same lists, but events tell the PID and a moment at which CRI's own life has not begun yet.
    Hints,
    /// The same lists, looked at now and then, are all that tells of changes.
    Polling,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Docker, Self::Containerd, Self::Cri, Self::Hints, Self::Polling];

    pub(super) fn has_one_life_per_id(self) -> bool {
        matches!(self, Self::Cri | Self::Hints | Self::Polling)
    }

    /// Whether its events tell PIDs and no names.
    pub(super) fn reports_pids(self) -> bool {
        matches!(self, Self::Containerd | Self::Hints)
    }

    /// Whether it may tell again on the next connection what it told before.
    pub(super) fn replays(self) -> bool {
        matches!(self, Self::Docker | Self::Cri)
    }
}

/// How much may happen in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub(super) kind: Kind,
    pub(super) containers: usize,
    /// Lives of each container.
    pub(super) lives: u8,
    pub(super) pauses: u8,
    pub(super) renames: u8,
    /// Events that are told twice.
    pub(super) doubled: u8,
    pub(super) failures: u8,
    /// Events that are lost.
    pub(super) lost: u8,
    pub(super) audits: u8,
    /// Times at which the engine says that events may have been lost.
    pub(super) gaps: u8,
    pub(super) connections: u8,
    /// How often the engine dies, with all that is alive in it.
    pub(super) crashes: u8,
    /// Lists that do not tell of all.
    pub(super) partial: u8,
    /// Connections on which the engine tells again what happened just before.
    pub(super) replays: u8,
    /// Stop after so many states.
    pub(super) states: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start(usize),
    /// Another container begins under an ID that was used before.
    Reuse(usize),
    Exit(usize),
    Pause(usize),
    Unpause(usize),
    Rename(usize),
    Deliver(usize),
    DeliverTwice(usize),
    /// Whoever polls looks at the list.
    Poll,
    /// The next event is lost.
    Lose(usize),
    Audit,
    /// The stream reports that events may have been lost.
    Gap,
    /// The exit of a life overtakes its start.
    Swap(usize),
    Connect,
    /// The same, and the engine tells once more what happened last.
    ConnectWithReplay,
    Disconnect,
    /// The engine dies, with all that is alive in it.
    Crash,
    LookForList,
    AnswerList,
    /// The answer does not tell of this container.
    AnswerListWithout(usize),
    /// An audit's list fails.
    FailList,
    /// A list is requested again, for the last one failed or was not complete.
    Relist,
    Ask,
    Look(usize),
    Answer(usize),
    Fail(usize),
    /// A failed inspection is to be repeated.
    RetryDue(usize),
    /// The grace period of an exit event is over.
    ExitDue(usize),
    /// The grace period of what an audit's list showed differently is over.
    DriftDue(usize),
}
