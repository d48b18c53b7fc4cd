//! Why a process of ssh ended, and what to do: by its status, and what it or the remote command printed.

use whalewatcher_adapter::Excerpt;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::config::endpoint::Endpoint;
use crate::config::ssh_target::SshTarget;
use crate::http::ssh::arguments::by_hand;

/// The status of ssh itself, which never is that of the remote command.
const OF_SSH: i32 = 255;

/// The status of a shell that finds no such command.
const NOT_FOUND: i32 = 127;

/// The error for a process that failed. `is_used` means that there was an answer through it.
pub(super) fn of_exit(
    endpoint: &Endpoint,
    target: &SshTarget,
    is_used: bool,
    status: Option<i32>,
    printed: &str,
) -> EngineError {
    let (kind, message) = if is_used {
        (
            ErrorKind::Disconnected,
            format!("ssh to {endpoint} ended: {}", Printed(status, printed).last_line()),
        )
    } else if status == Some(OF_SSH) {
        of_ssh(endpoint, target, printed)
    } else {
        of_docker(endpoint, status, printed)
    };
    EngineError::new(kind, message)
}

fn of_ssh(endpoint: &Endpoint, target: &SshTarget, printed: &str) -> (ErrorKind, String) {
    let has = |text| printed.contains(text);
    let command = by_hand(target);
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let message = format!(
            "the host key of {endpoint} is not the one in known_hosts: find out why it changed, then remove the old one with \
             'ssh-keygen -R'"
        );
        (ErrorKind::Configuration, message)
    } else if has("Host key verification failed") || has("host key is known for") {
        let message =
            format!("the host key of {endpoint} is unknown: run '{command}' once, and compare the key");
        (ErrorKind::Configuration, message)
    } else if has("Permission denied") || has("Too many authentication failures") {
        let message = format!(
            "ssh may not log in at {endpoint} ({}): '{command}' has to work without a password; add the key to ssh-agent, \
             or name it in the configuration of ssh",
            Printed(Some(OF_SSH), printed).last_line()
        );
        (ErrorKind::PermissionDenied, message)
    } else if has("Could not resolve hostname") {
        (ErrorKind::Unreachable, format!("the host of {endpoint} is unknown: check its name"))
    } else {
        let why = Printed(Some(OF_SSH), printed).last_line();
        (
            ErrorKind::Unreachable,
            format!("cannot reach {endpoint}: {why}; is the host up, and does sshd run there?"),
        )
    }
}

/// What `docker system dial-stdio`, or the shell that starts it, reports.
fn of_docker(endpoint: &Endpoint, status: Option<i32>, printed: &str) -> (ErrorKind, String) {
    let has = |text| printed.contains(text);
    if status == Some(NOT_FOUND) || has("command not found") {
        let message = format!(
            "there is no program 'docker' at {endpoint}: install Docker's client there, where shells find it that are not \
             interactive"
        );
        (ErrorKind::NotThisEngine, message)
    } else if has("dial-stdio") && has("is not a docker command") {
        (
            ErrorKind::TooOld,
            format!("Docker's client at {endpoint} is too old: 18.09 or later is needed there"),
        )
    } else if has("permission denied") {
        let message = format!(
            "the user at {endpoint} has no permission to use Docker there: add it with 'sudo usermod -aG docker'"
        );
        (ErrorKind::PermissionDenied, message)
    } else if has("no such file or directory")
        || has("connection refused")
        || has("Is the docker daemon running")
    {
        let why = Printed(status, printed).last_line();
        (
            ErrorKind::Unreachable,
            format!("dockerd does not listen at {endpoint}: {why}; is it running there?"),
        )
    } else {
        let why = Printed(status, printed).last_line();
        (ErrorKind::Unreachable, format!("'docker system dial-stdio' fails at {endpoint}: {why}"))
    }
}

/// What a process printed, with its status.
struct Printed<'a>(Option<i32>, &'a str);

impl Printed<'_> {
    fn last_line(&self) -> String {
        match (self.1.lines().rev().map(str::trim).find(|line| !line.is_empty()), self.0) {
            (Some(line), _) => Excerpt(line).to_string(),
            (None, Some(status)) => format!("status {status} without a reason"),
            (None, None) => "a signal ended it".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: i32, printed: &str) -> EngineError {
        let endpoint = Endpoint::parse("ssh://me@whale", false).unwrap();
        of_exit(&endpoint, &SshTarget::parse("me@whale").unwrap(), false, Some(status), printed)
    }

    #[test]
    fn each_failure_is_an_error_of_its_own_with_what_to_do() {
        use ErrorKind::{Configuration, NotThisEngine, PermissionDenied, TooOld, Unreachable};
        for (status, printed, kind, text) in [
            (255, "Host key verification failed.", Configuration, "is unknown: run 'ssh me@whale' once"),
            (
                255,
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Configuration,
                "is not the one in known_hosts",
            ),
            (
                255,
                "me@whale: Permission denied (publickey).\r\n",
                PermissionDenied,
                "ssh may not log in at ssh://me@whale (me@whale: Permission denied (publickey))",
            ),
            (
                255,
                "ssh: Could not resolve hostname whale: Name",
                Unreachable,
                "the host of ssh://me@whale is unknown",
            ),
            (
                255,
                "ssh: connect to host whale port 22: Connection refused",
                Unreachable,
                "cannot reach ssh://me@whale: ssh: connect to host whale port 22: Connection refused; is the host up",
            ),
            (255, "", Unreachable, "status 255 without a reason"),
            (127, "bash: line 1: docker: command not found", NotThisEngine, "there is no program 'docker'"),
            (127, "sh: 1: docker: nicht gefunden", NotThisEngine, "there is no program 'docker'"),
            (1, "docker: 'dial-stdio' is not a docker command.", TooOld, "18.09 or later"),
            (
                1,
                "failed to open the raw stream connection: dial unix /var/run/docker.sock: connect: no such file or directory",
                Unreachable,
                "dockerd does not listen at ssh://me@whale: failed to open",
            ),
            (
                1,
                "dial unix /var/run/docker.sock: connect: permission denied",
                PermissionDenied,
                "has no permission to use Docker there",
            ),
            (
                1,
                "noise\n\nthe \x1b[1mlast line\n",
                Unreachable,
                r"fails at ssh://me@whale: the \u{1b}[1mlast line",
            ),
        ] {
            let error = error(status, printed);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
