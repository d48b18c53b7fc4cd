//! The host name that the runtime sees, which identifies the runtime.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use rustix::system::uname;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

/// Returns the host name that the process with this PID sees, or else the one that this process sees.
///
/// It is read on a thread of its own, which enters the other UTS namespace and ends.
pub(crate) async fn name(pid: Option<u32>) -> String {
    name_below(Path::new("/proc"), pid).await
}

async fn name_below(proc: &Path, pid: Option<u32>) -> String {
    let Some(pid) = pid else { return own_name() };
    let process = proc.join(pid.to_string());
    let (report, reported) = oneshot::channel();
    let asked = process.clone();
    let thread = thread::Builder::new().name("uts-namespace".into()).spawn(move || {
        // The receiver may be gone.
        let _ = report.send(name_in_namespace_of(&asked));
    });
    let in_namespace = match thread {
        Ok(_) => reported.await.ok().flatten(),
        Err(error) => {
            tracing::debug!(%error, "cannot spawn a thread to enter another UTS namespace");
            None
        }
    };
    in_namespace.or_else(|| name_in_root_of(&process)).unwrap_or_else(own_name)
}

/// Call this on a thread of its own, because it may leave that thread in another UTS namespace.
fn name_in_namespace_of(process: &Path) -> Option<String> {
    let theirs = File::open(process.join("ns/uts")).ok()?;
    let ours = fs::metadata("/proc/thread-self/ns/uts").ok()?;
    let identity = theirs.metadata().ok()?;
    if (ours.dev(), ours.ino()) != (identity.dev(), identity.ino()) {
        let entered =
            move_into_link_name_space(theirs.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName));
        if let Err(error) = entered {
            tracing::debug!(%error, "no permission to enter the runtime's UTS namespace");
            return None;
        }
    }
    reported(uname().nodename().to_string_lossy().into_owned())
}

/// Reads the host name from `/etc/hostname` below the root of that process.
fn name_in_root_of(process: &Path) -> Option<String> {
    let text = fs::read_to_string(process.join("root/etc/hostname")).ok()?;
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.starts_with('#')).find_map(|line| reported(line.to_owned()))
}

fn own_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

fn reported(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::symlink;
    use std::process::{Child, ChildStdout, Command, Stdio};

    use super::*;

    /// A process in a UTS namespace of its own, where the host has another name.
    struct Elsewhere {
        process: Child,
        _output: BufReader<ChildStdout>,
    }

    impl Elsewhere {
        fn called(name: &str) -> Self {
            let mut process = Command::new("unshare")
                .args(["--uts", "sh", "-c", "hostname \"$0\" && echo ready && read end", name])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = BufReader::new(process.stdout.take().unwrap());
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n", "this test needs unshare");
            Self { process, _output: output }
        }

        fn pid(&self) -> u32 {
            self.process.id()
        }
    }

    impl Drop for Elsewhere {
        fn drop(&mut self) {
            drop(self.process.stdin.take());
            let _ = self.process.wait();
        }
    }

    /// The UTS namespaces of all threads of this process.
    fn namespaces() -> Vec<(String, u64)> {
        let threads = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
        let reported = threads.filter_map(|thread| {
            let name = fs::read_to_string(thread.join("comm")).ok()?;
            Some((name.trim().to_owned(), fs::metadata(thread.join("ns/uts")).ok()?.ino()))
        });
        reported.filter(|(name, _)| name != "uts-namespace").collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_name_is_that_in_the_runtimes_namespace() {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            eprintln!("not tested: only root can give another process a name of the host of its own");
            return;
        }
        let elsewhere = Elsewhere::called("whale-elsewhere");
        let ours = fs::metadata("/proc/self/ns/uts").unwrap().ino();
        let theirs = fs::metadata(format!("/proc/{}/ns/uts", elsewhere.pid())).unwrap().ino();
        assert_ne!(ours, theirs);
        let (name_there, own) = (name(Some(elsewhere.pid())).await, own_name());
        assert_eq!(name_there, "whale-elsewhere");
        assert_ne!(own, "whale-elsewhere");
        let after = namespaces();
        assert!(after.len() > 4 && after.iter().all(|(_, namespace)| *namespace == ours), "{after:?}");
        assert_eq!(name(None).await, own);
    }

    #[tokio::test]
    async fn our_own_namespace_needs_no_permission() {
        assert_eq!(name(Some(std::process::id())).await, own_name());
    }

    #[tokio::test]
    async fn without_permission_the_name_is_read_from_etc_hostname() {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("7");
        fs::create_dir_all(process.join("ns")).unwrap();
        fs::create_dir_all(process.join("root/etc")).unwrap();
        // A namespace of another kind cannot be entered as one of host names.
        symlink("/proc/self/ns/net", process.join("ns/uts")).unwrap();
        let file = process.join("root/etc/hostname");
        for (text, expected) in [
            (Some("whale-7\n"), Some("whale-7")),
            (Some("# set by hand\n\n whale-8 \n"), Some("whale-8")),
            (Some("\n"), None),
            (None, None),
        ] {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let expected = expected.map_or_else(own_name, str::to_owned);
            assert_eq!(name_below(proc.path(), Some(7)).await, expected, "{text:?}");
        }
        assert_eq!(name_below(proc.path(), Some(8)).await, own_name(), "that process is gone");
    }
}
