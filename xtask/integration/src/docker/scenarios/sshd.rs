//! A private sshd on loopback, with keys and a configuration of its own.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use whalewatcher_moby::Client;

use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;
use crate::recorder::LIMIT;

/// sshd insists on a user and on a folder of its own, which only it sees. It does not run itself again for
/// each connection (`-r`), because it would lose the path of its libraries.
const START: &str = r#"set -e
cd "$1"
grep -v '^sshd:' /etc/passwd > passwd
echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin' >> passwd
mount --bind passwd /etc/passwd
mount -t tmpfs none /run
mkdir /run/sshd
LD_LIBRARY_PATH=$3 exec "$2" -r -D -e -f sshd_config"#;

const SSHD: &str = "Port PORT
ListenAddress 127.0.0.1
HostKey FOLDER/host
PidFile none
AuthorizedKeysFile FOLDER/me.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv PATH=FOLDER/bin:/usr/bin:/bin
";

const CLIENT: &str = "IdentityFile FOLDER/me
IdentityAgent none
UserKnownHostsFile FOLDER/known
HostKeyAlias whale
";

/// Runs until it is dropped, together with its connections.
pub(super) struct Sshd {
    child: Child,
    pub(super) folder: PathBuf,
    pub(super) port: u16,
}

impl Sshd {
    /// Starts it; `None` if there is none, or if it would not see the engine.
    pub(super) async fn start(fixture: &DockerFixture, name: &str) -> Result<Option<Sshd>> {
        let installation = fixture.engine().installation();
        let folder = fixture.socket(name);
        let (Ok(sshd), Ok(docker)) = (installation.program("sshd"), installation.program("docker")) else {
            fixture.figure("no sshd was fetched for this engine".to_owned());
            return Ok(None);
        };
        if folder.starts_with("/run") {
            fixture.figure("sshd hides /run, where the engine is: set TMPDIR to a short path".to_owned());
            return Ok(None);
        }
        fs::create_dir_all(folder.join("bin"))?;
        std::os::unix::fs::symlink(docker, folder.join("bin/docker"))?;
        for key in ["host", "me"] {
            let path = folder.join(key);
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path)).await?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let filled = |text: &str| {
            text.replace("FOLDER", &folder.display().to_string()).replace("PORT", &port.to_string())
        };
        fs::write(folder.join("sshd_config"), filled(SSHD))?;
        fs::write(folder.join("client"), filled(CLIENT))?;
        fs::write(folder.join("known"), format!("whale {}", fs::read_to_string(folder.join("host.pub"))?))?;
        fs::write(folder.join("ssh.sh"), filled("#!/bin/sh\nexec ssh -F FOLDER/client \"$@\"\n"))?;
        // Another process writes it: a file that this one had open for writing could not be run.
        run(Command::new("install").args(["-m", "700"]).arg(folder.join("ssh.sh")).arg(folder.join("ssh")))
            .await?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", START, "sh"]).arg(&folder).arg(sshd);
        command.arg(installation.library_path().map_or("".as_ref(), |path| path.as_os_str()));
        let log = fs::File::create(folder.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn();
        let sshd = Sshd { child: child.context("cannot start sshd")?, folder, port };
        let listens = async {
            // Nothing says when it listens.
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let log = || fs::read_to_string(sshd.folder.join("log")).unwrap_or_default();
        timeout(LIMIT, listens).await.with_context(|| format!("sshd does not listen: {}", log()))?;
        Ok(Some(sshd))
    }

    /// Returns a client of the dockerd that has this socket, through what listens at this port.
    pub(super) fn client_at(&self, port: u16, socket: &Path) -> Result<Client> {
        let endpoint = format!("ssh://root@127.0.0.1:{port}{}", socket.display());
        Ok(Client::builder().endpoint(endpoint).ssh_program(self.folder.join("ssh")).build()?)
    }

    /// Ends the processes that serve connections.
    pub(super) fn cut(&self) -> Result<()> {
        let sshd = self.child.id().context("sshd has ended")?;
        let children = fs::read_to_string(format!("/proc/{sshd}/task/{sshd}/children"))?;
        ensure!(!children.trim().is_empty(), "sshd serves no connection");
        for child in children.split_whitespace() {
            crate::scenarios::kill(child.parse()?)?;
        }
        Ok(())
    }

    /// Waits until there is no process of ssh any more, on neither side.
    pub(super) async fn until_unused(&self, socket: &Path) -> Result<()> {
        let (client, remote) = (self.folder.join("client"), format!("--host=unix://{}", socket.display()));
        let left = || -> Result<BTreeSet<String>> {
            let arguments = fs::read_dir("/proc")?
                .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
                .filter(|line| line.contains(&remote) || line.contains(&client.display().to_string()));
            Ok(arguments.map(|line| line.replace('\0', " ")).collect())
        };
        let unused = async {
            while !left()?.is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        timeout(LIMIT, unused).await.with_context(|| format!("left: {:?}", left()))?
    }
}

async fn run(command: &mut Command) -> Result<()> {
    let status = command.status().await.with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} fails: {status}");
    Ok(())
}
