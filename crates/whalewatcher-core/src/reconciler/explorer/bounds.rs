//! What kinds of worlds there are, and what can happen in them.

/// How an engine reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Lists lack PIDs and have a rough start time; events have names, and a time later than the start.
    Docker,
    /// Lists are complete but for start times; events have PIDs, which distinguish lives.
    Containerd,
    /// Lists contain what is alive, without PIDs; events have all but the PID. An ID has one life, as in CRI,
    /// also below.
    Cri,
    /// The same lists; events have the PID, and a time before the start that CRI reports.
    Hints,
    /// The same lists, polled, in place of events.
    Polling,
}

impl Kind {
    /// All kinds, where an ID has one life with a reconciler that knows that and with one that does not.
    pub(super) const ALL: [(Self, bool); 8] = [
        (Self::Docker, false),
        (Self::Containerd, false),
        (Self::Cri, false),
        (Self::Cri, true),
        (Self::Hints, false),
        (Self::Hints, true),
        (Self::Polling, false),
        (Self::Polling, true),
    ];

    pub(super) fn has_one_life_per_id(self) -> bool {
        matches!(self, Self::Cri | Self::Hints | Self::Polling)
    }

    /// Whether its events have PIDs and no names.
    pub(super) fn reports_pids(self) -> bool {
        matches!(self, Self::Containerd | Self::Hints)
    }

    /// Whether it may repeat events on the next connection.
    pub(super) fn replays(self) -> bool {
        matches!(self, Self::Docker | Self::Cri)
    }
}

/// How much may happen in a world, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub(super) kind: Kind,
    /// Whether the reconciler knows that an ID has one life.
    pub(super) final_ids: bool,
    pub(super) containers: usize,
    /// Lives of each container.
    pub(super) lives: u8,
    /// Pauses or, with `has_health`, failures of a healthcheck.
    pub(super) pauses: u8,
    /// Whether containers have a healthcheck, and are not paused.
    pub(super) has_health: bool,
    /// Whether inspections attach rucksacks.
    pub(super) packs: bool,
    /// Processes that are killed for lack of memory.
    pub(super) ooms: u8,
    pub(super) renames: u8,
    /// Events that are delivered twice.
    pub(super) doubled: u8,
    pub(super) failures: u8,
    /// Events that arrive malformed: nothing but the container can be read.
    pub(super) malformed: u8,
    /// Events that are lost.
    pub(super) lost: u8,
    pub(super) audits: u8,
    /// Gaps that the stream reports.
    pub(super) gaps: u8,
    pub(super) connections: u8,
    /// How often the engine dies, with all that is alive in it.
    pub(super) crashes: u8,
    /// Lists that do not cover all scopes.
    pub(super) partial: u8,
    /// Connections on which the engine repeats the newest events.
    pub(super) replays: u8,
    /// Lists and inspections that still show a life that is over.
    pub(super) lags: u8,
    /// Ends of lives that the witness reports. If there are any, it watches each life that is announced while
    /// it goes on.
    pub(super) ends: u8,
    /// False exits, starts and answers of the engine about a life that goes on and is watched.
    pub(super) lies: u8,
    /// Whether all lives of a container have one PID, one after the other.
    pub(super) same_pid: bool,
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
    /// A process is killed for lack of memory.
    Oom(usize),
    Rename(usize),
    Deliver(usize),
    DeliverTwice(usize),
    /// The next event is malformed.
    DeliverMalformed(usize),
    /// The list is polled.
    Poll,
    /// The next event is lost.
    Lose(usize),
    Audit,
    /// The stream reports that events may have been lost.
    Gap,
    /// The exit of a life overtakes its start.
    Swap(usize),
    Connect,
    /// The same, and the engine repeats the newest events.
    ConnectWithReplay,
    Disconnect,
    /// The engine dies, with all that is alive in it.
    Crash,
    LookForList,
    /// The same, and the list still shows the life of this container that is over.
    LookForListBehind(usize),
    AnswerList,
    /// The list does not cover this container.
    AnswerListWithout(usize),
    /// An audit's list fails.
    FailList,
    /// A list is requested again, for the last one failed or was not complete.
    Relist,
    Ask,
    Look(usize),
    /// The same, and the answer still shows the life that is over.
    LookBehind(usize),
    Answer(usize),
    Fail(usize),
    /// The witness reports the end of the life that it watches.
    End(usize),
    /// The same, while the engine is silent.
    EndInSilence(usize),
    /// The witness reports the end of a life that is not watched any more.
    EndLate(usize, usize),
    /// The engine reports an exit of a life that goes on, and that it has started.
    Lie(usize),
    /// The engine returns that a container is not alive whose life goes on.
    LookFalse(usize),
    /// A failed inspection is to be repeated.
    RetryDue(usize),
    /// The grace period of an exit event is over.
    ExitDue(usize),
    /// The grace period of what an audit's list showed differently is over.
    DriftDue(usize),
}
