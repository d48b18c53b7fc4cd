//! `ssh://[user@]host[:port][/path]`: where to run `docker system dial-stdio`.

use percent_encoding::percent_decode_str;

/// A host that is reached by the program `ssh`, and the socket of dockerd there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshTarget {
    pub(crate) user: Option<String>,
    /// A name, an IP address without brackets, or an alias in the configuration of ssh.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// The socket of dockerd, if it is not the default one of that host.
    pub(crate) path: Option<String>,
}

impl SshTarget {
    /// Parses what follows `ssh://`.
    pub(crate) fn parse(rest: &str) -> Result<Self, &'static str> {
        if rest.contains(['?', '#']) {
            return Err("after the host come a port and a path and nothing else");
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password cannot be given: use a key, with ssh-agent if it has a passphrase");
        }
        let user =
            user.map(|user| decoded(user).filter(|user| is_argument(user)).ok_or("the user name is invalid"));
        let (host, port) = match address.strip_prefix('[') {
            Some(address) => {
                let (host, port) = address.split_once(']').ok_or("the ']' of the address is missing")?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').unwrap_or_default()),
                };
                (host, port)
            }
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        if host.is_empty() {
            return Err("the host is missing");
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte) || !byte.is_ascii();
        if !host.bytes().all(is_host) || host.starts_with('-') {
            return Err("the host is invalid");
        }
        let port = port.map(|port| {
            port.parse().ok().filter(|port| *port != 0).ok_or("the port must be a number from 1 to 65535")
        });
        let path = Some(path).filter(|path| !path.trim_matches('/').is_empty());
        let path = path.map(|path| {
            decoded(path).filter(|path| !path.contains(char::is_control)).ok_or("the path is invalid")
        });
        Ok(Self {
            user: user.transpose()?,
            host: host.into(),
            port: port.transpose()?,
            path: path.transpose()?,
        })
    }
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// Whether a user name is no option, and means nothing to a shell: the configuration of ssh can hand it to one.
fn is_argument(text: &str) -> bool {
    let is_special = |character: char| {
        character.is_control() || character.is_whitespace() || "'`\"$\\;&<>|(){}".contains(character)
    };
    !text.is_empty() && !text.starts_with('-') && !text.contains(is_special)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_parsed() {
        let target = |user: Option<&str>, host: &str, port, path: Option<&str>| SshTarget {
            user: user.map(str::to_owned),
            host: host.into(),
            port,
            path: path.map(str::to_owned),
        };
        for (rest, expected) in [
            ("whale", target(None, "whale", None, None)),
            ("me@whale:22/", target(Some("me"), "whale", Some(22), None)),
            ("whale/run/d.sock", target(None, "whale", None, Some("/run/d.sock"))),
            ("a%40b@whale/a%20b", target(Some("a@b"), "whale", None, Some("/a b"))),
            ("[::1]:22", target(None, "::1", Some(22), None)),
            ("[fe80::1%eth0]", target(None, "fe80::1%eth0", None, None)),
        ] {
            assert_eq!(SshTarget::parse(rest), Ok(expected), "{rest}");
        }
    }

    #[test]
    fn what_ssh_or_a_shell_would_misunderstand_is_refused() {
        for (rest, reason) in [
            ("", "the host is missing"),
            ("me@", "the host is missing"),
            ("-oProxyCommand=x", "the host is invalid"),
            ("a b", "the host is invalid"),
            ("a;b", "the host is invalid"),
            ("$(a)", "the host is invalid"),
            ("-l@whale", "the user name is invalid"),
            ("@whale", "the user name is invalid"),
            ("a%20b@whale", "the user name is invalid"),
            ("%24x@whale", "the user name is invalid"),
            ("me:secret@whale", "a password cannot be given"),
            ("whale:", "the port must be"),
            ("whale:0", "the port must be"),
            ("whale:x", "the port must be"),
            ("[::1", "the ']' of the address is missing"),
            ("[::1]22", "the port must be"),
            ("whale/a%0Ab", "the path is invalid"),
            ("whale?x=1", "nothing else"),
            ("whale#x", "nothing else"),
        ] {
            let error = SshTarget::parse(rest).unwrap_err();
            assert!(error.contains(reason), "{rest}: {error}");
        }
    }
}
