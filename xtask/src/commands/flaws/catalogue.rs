//! The shortcomings that are not to be found here, and the flaws that bring them in.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::commands::cargo::workspace;

/// What must not be found here: what users of the Go module `thediveo/whalewatcher` could run into, and at the end what CRI
/// makes easy to get wrong, and what was wrong here once. Each has a flaw at least.
pub(super) const SHORTCOMINGS: [&str; 36] = [
    "Ready never comes when a subscriber with more than 10 containers waits for it",
    "one reader that does not read stops the whole watch",
    "a start event of what is not alive any more crashes the process",
    "a cancelled watch is not noticed during back-off",
    "one hanging inspection blocks all events",
    "a finished exec removes its container",
    "after a failed list old tombstones hide live containers",
    "what starts between list and subscription is lost",
    "a start event for a known ID leaves the old PID",
    "exits match names as well as IDs",
    "one failed inspection makes a container invisible until the next reconnect",
    "one failed inspection fails the whole list",
    "renames are never seen",
    "label changes are never seen",
    "each reconnect announces every survivor again",
    "a reconnect never announces what went meanwhile",
    "short-lived containers leave no trace",
    "Paused twice",
    "Started is seen before the container is in the portfolio",
    "no time",
    "no exit code",
    "no way to join snapshot and events",
    "Ready after a failure",
    "back-off never resets",
    "no time limit on any call",
    "no detection of dead connections",
    "inspections one after another",
    "lookups are linear",
    "a namespace that cannot be listed counts as empty",
    "a start event of a pod that is not ready any more crashes the process",
    "subscribing to CRI events on containerd 1.x takes them from the kubelet",
    "replayed events bring a life back",
    "a PID of 0 counts as alive",
    "an event stream that ends at once makes it spin",
    "a container that changes more often than an inspection takes is never shown",
    "containers whose inspection hangs delay all others",
];

/// A patch that brings a shortcoming in.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) name: String,
    pub(super) patch: PathBuf,
    pub(super) shortcoming: String,
    /// Each of these tests must fail with the flaw in.
    pub(super) noticed_by: Vec<NamedTest>,
}

/// A single test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamedTest {
    pub(super) package: String,
    /// `lib`, or the name of an integration test.
    pub(super) target: String,
    pub(super) name: String,
}

impl NamedTest {
    /// As patches write it: `PACKAGE TARGET NAME`.
    fn parse(text: &str) -> Option<NamedTest> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let test = NamedTest { package: words.next()?, target: words.next()?, name: words.next()? };
        words.next().is_none().then_some(test)
    }
}

impl fmt::Display for NamedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.package, self.target, self.name)
    }
}

/// All flaws, by name.
pub(super) fn flaws() -> Result<Vec<Flaw>> {
    let folder = workspace().join("xtask/flaws");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut flaws = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        flaws.push(flaw(&path, &text).with_context(|| format!("{} is no flaw", path.display()))?);
    }
    flaws.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(flaws)
}

/// What the lines before the patch itself tell.
fn flaw(patch: &Path, text: &str) -> Result<Flaw> {
    let name = patch.file_name().and_then(|name| name.to_str()?.strip_suffix(".patch"));
    let name = name.context("its name does not end in .patch")?.to_owned();
    let mut lines = text.lines().take_while(|line| !line.starts_with("diff --git "));
    let shortcoming = lines.next().and_then(|line| line.strip_prefix("Shortcoming: "));
    let shortcoming = shortcoming.context("its first line does not say which shortcoming it brings in")?;
    ensure!(SHORTCOMINGS.contains(&shortcoming), "'{shortcoming}' is not among the shortcomings");
    let mut noticed_by = Vec::new();
    for line in lines {
        if let Some(test) = line.strip_prefix("Noticed by: ") {
            let test = NamedTest::parse(test).with_context(|| format!("'{test}' names no test"))?;
            noticed_by.push(test);
        }
    }
    ensure!(!noticed_by.is_empty(), "it does not say which tests notice it");
    Ok(Flaw { name, patch: patch.to_owned(), shortcoming: shortcoming.to_owned(), noticed_by })
}

#[cfg(test)]
mod tests {
    use super::super::replica::apply;
    use super::*;

    #[test]
    fn every_shortcoming_has_a_flaw() {
        let flaws = flaws().unwrap();
        for shortcoming in SHORTCOMINGS {
            assert!(flaws.iter().any(|flaw| flaw.shortcoming == shortcoming), "no flaw: {shortcoming}");
        }
    }

    #[test]
    fn every_flaw_applies() {
        if !std::process::Command::new("git").arg("--version").output().is_ok_and(|git| git.status.success())
        {
            eprintln!("no git here: nothing is tested");
            return;
        }
        for flaw in flaws().unwrap() {
            apply(workspace(), &flaw.patch, &["--check"]).unwrap();
        }
    }

    #[test]
    fn what_a_patch_says_of_itself_is_understood() {
        let text = "Shortcoming: no time\nNoticed by: core lib a::b\nNoticed by: core watcher c\n\ndiff --git a/x b/x\n";
        let flaw = flaw(Path::new("flaws/late.patch"), text).unwrap();
        assert_eq!((flaw.name.as_str(), flaw.shortcoming.as_str()), ("late", "no time"));
        let tests: Vec<_> = flaw.noticed_by.iter().map(NamedTest::to_string).collect();
        assert_eq!(tests, ["core lib a::b", "core watcher c"]);
    }

    #[test]
    fn a_patch_that_does_not_say_what_it_is_for_is_refused() {
        for (name, text, reason) in [
            ("late.diff", "", "does not end in .patch"),
            ("late.patch", "diff --git a/x b/x\n", "which shortcoming"),
            ("late.patch", "Shortcoming: no tea\n", "'no tea' is not among"),
            ("late.patch", "Shortcoming: no time\n", "which tests"),
            ("late.patch", "Shortcoming: no time\nNoticed by: core lib\n", "'core lib' names no test"),
        ] {
            let error = flaw(Path::new(name), text).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }
}
