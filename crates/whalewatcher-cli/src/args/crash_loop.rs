//! The argument about crash loops.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use whalewatcher_core::history::HistorySettings;

use super::duration;

/// When lives of a container are a crash loop.
#[derive(Args, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct CrashLoopArgs {
    /// Report a crash loop after this many lives of a container that end within this time [default: 5/10m]
    ///
    /// From 2 to 64 lives. The default is WHALEWATCHER_CRASH_LOOP, else 'crash_loop' in ~/.config/whalewatcher.toml.
    #[arg(long, value_name = "LIVES/DURATION")]
    pub(crate) crash_loop: Option<CrashLoops>,
}

impl CrashLoopArgs {
    pub(crate) fn settings(&self) -> HistorySettings {
        let settings = HistorySettings::default();
        match self.crash_loop {
            Some(CrashLoops { lives, time }) => settings.with_crash_loops(lives, time),
            None => settings,
        }
    }
}

/// How many lives that end in which time are a crash loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CrashLoops {
    lives: usize,
    time: Duration,
}

impl Default for CrashLoops {
    fn default() -> Self {
        Self::of(&HistorySettings::default())
    }
}

impl CrashLoops {
    /// Returns the words for it, such as `5 lives that ended within 10m`.
    #[cfg(feature = "top")]
    pub(crate) fn in_words(&self) -> String {
        format!("{} lives that ended within {:#}", self.lives, self.signed())
    }

    fn signed(&self) -> SignedDuration {
        SignedDuration::try_from(self.time).unwrap_or(SignedDuration::MAX)
    }

    pub(crate) fn of(settings: &HistorySettings) -> Self {
        Self { lives: settings.crash_loop_lives(), time: settings.crash_loop_time() }
    }
}

impl FromStr for CrashLoops {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (lives, time) = text.split_once('/').ok_or("not LIVES/DURATION, such as 5/10m")?;
        let lives = lives.parse().map_err(|_| format!("'{lives}' is not a number of lives"))?;
        let asked = Self { lives, time: duration(time).map_err(|reason| format!("'{time}' is {reason}"))? };
        let possible = Self::of(&HistorySettings::default().with_crash_loops(asked.lives, asked.time));
        match possible == asked {
            true => Ok(asked),
            false => Err(format!("out of bounds, of which the nearest is {possible}")),
        }
    }
}

/// As it is on the command line.
impl fmt::Display for CrashLoops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:#}", self.lives, self.signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_lives_and_a_time_within_bounds() {
        let limits: CrashLoops = "3/90s".parse().unwrap();
        let settings = CrashLoopArgs { crash_loop: Some(limits) }.settings();
        assert_eq!((settings.crash_loop_lives(), settings.crash_loop_time().as_secs()), (3, 90));
        assert_eq!(CrashLoops::default().to_string(), "5/10m");
        #[cfg(feature = "top")]
        assert_eq!(limits.in_words(), "3 lives that ended within 1m 30s");
        for (wrong, reason) in [
            ("5", "not LIVES/DURATION"),
            ("x/1m", "'x' is not a number of lives"),
            ("5/10", "'10' is not a duration"),
            ("1/10m", "nearest is 2/10m"),
            ("65/10m", "nearest is 64/10m"),
        ] {
            let error = wrong.parse::<CrashLoops>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
