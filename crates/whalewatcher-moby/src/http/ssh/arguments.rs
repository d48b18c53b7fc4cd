//! The arguments of `ssh`.

use crate::config::ssh_target::SshTarget;

/// The arguments of ssh from the destination on.
pub(super) fn destination(target: &SshTarget) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(user) = &target.user {
        arguments.extend(["-l".into(), user.clone()]);
    }
    if let Some(port) = target.port {
        arguments.extend(["-p".into(), port.to_string()]);
    }
    arguments.extend(["--".into(), target.host.clone()]);
    arguments
}

/// The command to run there, for a shell.
pub(super) fn remote_command(target: &SshTarget) -> String {
    match &target.path {
        Some(path) => format!("docker --host=unix://{} system dial-stdio", quoted(path)),
        None => "docker system dial-stdio".into(),
    }
}

/// The command with which a person tries the same.
pub(super) fn by_hand(target: &SshTarget) -> String {
    let mut command = "ssh ".to_owned();
    if let Some(port) = target.port {
        command.push_str(&format!("-p {port} "));
    }
    if let Some(user) = &target.user {
        command.push_str(&format!("{user}@"));
    }
    command + &target.host
}

/// Quotes a text for a POSIX shell.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.bytes().all(is_plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_become_arguments() {
        for (rest, expected, command) in [
            ("whale", "-- whale", "docker system dial-stdio"),
            ("me@whale:22", "-l me -p 22 -- whale", "docker system dial-stdio"),
            ("whale/run/d.sock", "-- whale", "docker --host=unix:///run/d.sock system dial-stdio"),
            ("[::1]", "-- ::1", "docker system dial-stdio"),
            ("w/a%20'b;c", "-- w", r"docker --host=unix://'/a '\''b;c' system dial-stdio"),
        ] {
            let target = SshTarget::parse(rest).unwrap();
            assert_eq!((&*destination(&target).join(" "), &*remote_command(&target)), (expected, command));
        }
        assert_eq!(by_hand(&SshTarget::parse("me@whale:22").unwrap()), "ssh -p 22 me@whale");
    }
}
