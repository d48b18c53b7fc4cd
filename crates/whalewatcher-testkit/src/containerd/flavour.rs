//! Which containerd the server plays.

/// The containerd to be played, by what a watcher could notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// 1.6.20 of Debian 12: it reports its UUID, but neither its PID nor its PID namespace.
    V1_6,
    /// 1.7.24 of Debian 13.
    V1_7,
    /// 2.1.9 of Debian's unstable release.
    #[default]
    V2_1,
}

impl Flavour {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V1_6 => "1.6.20~ds1",
            Self::V1_7 => "1.7.24~ds1",
            Self::V2_1 => "2.1.9",
        }
    }

    pub(super) fn revision(self) -> &'static str {
        match self {
            Self::V1_6 => "1.6.20~ds1-1+deb12u3",
            Self::V1_7 => "1.7.24~ds1-6+deb13u1",
            Self::V2_1 => "2.1.9-1",
        }
    }

    /// Whether it says which process it is.
    pub(super) fn reports_pid(self) -> bool {
        self != Self::V1_6
    }
}
