//! A program in place of `ssh` that leads to an engine of the test kit, or fails.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::yield_now;
use tokio::time::timeout;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::Server;

pub(crate) struct FakeSsh {
    folder: TempDir,
}

impl FakeSsh {
    /// Runs this script of bash for each connection. The user shares no connection of their own.
    pub(crate) fn running(script: &str) -> Self {
        Self::with_check(255, script)
    }

    /// Runs this script for each connection, and answers with this status whether the user shares one.
    fn with_check(status: u8, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (program, calls) = (folder.path().join("ssh"), folder.path().join("calls"));
        let script = format!(
            "#!/usr/bin/env bash\ncase \"$*\" in *'-O check'*) exit {status};; esac\n\
             echo \"$$ $*\" >> '{}'\n{script}\n",
            calls.display()
        );
        // Another process writes it: a file that this one has open could not be run.
        let write = Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 700 \"$2\"", "sh", &script])
            .arg(program)
            .status();
        assert!(write.unwrap().success());
        Self { folder }
    }

    /// Leads to this engine, which has to listen on TCP.
    pub(crate) fn to(engine: &Server) -> Self {
        Self::running(&Self::leading_to(engine))
    }

    /// The same, while the user has a connection that can be shared.
    #[allow(dead_code, reason = "not all tests use it")]
    pub(crate) fn shared_to(engine: &Server) -> Self {
        Self::with_check(0, &Self::leading_to(engine))
    }

    fn leading_to(engine: &Server) -> String {
        let endpoint = engine.tcp_endpoint().unwrap();
        let port = endpoint.rsplit_once(':').unwrap().1;
        format!("exec 3<>/dev/tcp/127.0.0.1/{port}\ncat <&0 >&3 &\nexec cat <&3")
    }

    pub(crate) fn client(&self) -> Client {
        let program = self.folder.path().join("ssh");
        Client::builder().endpoint("ssh://me@whale:2222").ssh_program(program).build().unwrap()
    }

    /// Returns the process and the arguments of each connection.
    pub(crate) fn calls(&self) -> Vec<(u32, String)> {
        let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        let call = |line: &str| {
            let (process, arguments) = line.split_once(' ').unwrap();
            (process.parse().unwrap(), arguments.to_owned())
        };
        calls.lines().map(call).collect()
    }

    /// Waits until no process is left, nor the folder of the shared connection.
    pub(crate) async fn until_gone(&self) {
        let calls = self.calls();
        let folders = calls.iter().filter_map(|(_, arguments)| shared_socket(arguments)?.parent());
        let paths: Vec<_> = folders.map(Path::to_owned).collect();
        let processes = calls.iter().map(|(process, _)| Path::new("/proc").join(process.to_string()));
        let paths: Vec<_> = paths.into_iter().chain(processes).collect();
        let gone = async {
            while paths.iter().any(|path| path.exists()) {
                yield_now().await;
            }
        };
        if timeout(Duration::from_secs(60), gone).await.is_err() {
            panic!("left over: {:?}", paths.iter().filter(|path| path.exists()).collect::<Vec<_>>());
        }
    }
}

/// Returns the path of the socket by which connections are shared.
pub(crate) fn shared_socket(arguments: &str) -> Option<&Path> {
    arguments.split_once("-S ")?.1.split(' ').next().map(Path::new)
}
