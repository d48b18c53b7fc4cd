//! Where the cluster is, and below which prefix the keys are.

use std::fmt;
use std::str::FromStr;

use crate::client::error::{Error, ErrorKind};

/// The prefix of all keys, unless another one is given.
pub const DEFAULT_PREFIX: &str = "/whalewatcher/v1/";

/// The port on which etcd serves clients.
const PORT: u16 = 2379;

/// The members of a cluster of etcd, and the prefix of the keys: `etcd://a:2379,b:2379/PREFIX`, or `etcds://` with TLS.
///
/// One member is enough, but if that one fails, only the others that are named are tried. Without a port it
/// is 2379, and without a prefix [`DEFAULT_PREFIX`]. A prefix separates the keys of several fleets in one
/// cluster.
///
/// ```
/// use whalewatcher_etcd::ClusterUrl;
///
/// let url: ClusterUrl = "etcds://one,two:2380/fleets/a".parse()?;
/// assert_eq!(url.to_string(), "etcds://one:2379,two:2380/fleets/a/");
/// assert_eq!(url.prefix(), "/fleets/a/");
/// # Ok::<(), whalewatcher_etcd::client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterUrl {
    secure: bool,
    members: Vec<Member>,
    prefix: String,
}

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl ClusterUrl {
    /// Returns whether a text has the scheme of such a URL.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with("etcd://") || text.starts_with("etcds://")
    }

    /// Returns the prefix of all keys, which begins and ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the URL with another prefix; a slash at its beginning and end may be left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the prefix has an empty part, a blank, or one of `?#%`.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        self.prefix = whole_prefix(prefix)?;
        Ok(self)
    }

    /// Returns whether the members are connected to with TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }
}

impl FromStr for ClusterUrl {
    type Err = Error;

    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] with what is wrong.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            |why: &str| Error::new(ErrorKind::Configuration, format!("'{text}' is no URL of etcd: {why}"));
        let (secure, rest) = match text.split_once("://") {
            Some(("etcd", rest)) => (false, rest),
            Some(("etcds", rest)) => (true, rest),
            _ => return Err(wrong("it begins with etcd://, or with etcds:// for TLS")),
        };
        let (members, prefix) =
            rest.split_once('/').map_or((rest, ""), |(members, prefix)| (members, prefix));
        if members.contains('@') {
            return Err(wrong(
                "user and password are given apart from it, because others see the command line",
            ));
        }
        let members = members.split(',').map(member).collect::<Option<Vec<_>>>();
        let members = members.ok_or_else(|| wrong("after the scheme it has HOST[:PORT],…"))?;
        let prefix = if prefix.is_empty() { DEFAULT_PREFIX.to_owned() } else { whole_prefix(prefix)? };
        Ok(Self { secure, members, prefix })
    }
}

impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "etcds://" } else { "etcd://" })?;
        for (index, member) in self.members.iter().enumerate() {
            write!(f, "{}{member}", if index > 0 { "," } else { "" })?;
        }
        f.write_str(&self.prefix)
    }
}

fn member(text: &str) -> Option<Member> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_name) {
        return None;
    }
    let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port > 0))?;
    Some(Member { host: host.to_owned(), port })
}

fn whole_prefix(text: &str) -> Result<String, Error> {
    let bare = text.strip_prefix('/').unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let is_wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '%');
    if bare.split('/').any(str::is_empty) || bare.contains(is_wrong) {
        let why = "it has parts between slashes, none of them empty, without blanks and ?#%";
        return Err(Error::new(ErrorKind::Configuration, format!("'{text}' is no prefix of keys: {why}")));
    }
    Ok(format!("/{bare}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_members_and_a_prefix() {
        for (text, expected) in [
            ("etcd://a", "etcd://a:2379/whalewatcher/v1/"),
            ("etcd://a/", "etcd://a:2379/whalewatcher/v1/"),
            ("etcds://a:1,[fd00::2],10.0.0.1:3", "etcds://a:1,[fd00::2]:2379,10.0.0.1:3/whalewatcher/v1/"),
            ("etcd://a//x/y/", "etcd://a:2379/x/y/"),
            ("etcd://a/x", "etcd://a:2379/x/"),
        ] {
            let url: ClusterUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), expected);
            assert_eq!(expected.parse::<ClusterUrl>().unwrap(), url);
            assert!(ClusterUrl::is_one(text));
        }
        let url: ClusterUrl = "etcd://a/x".parse().unwrap();
        assert_eq!(url.with_prefix("y").unwrap().prefix(), "/y/");
    }

    #[test]
    fn what_is_no_url_is_refused_with_the_reason() {
        for (text, why) in [
            ("http://a:2379", "it begins with etcd://"),
            ("etcd://", "HOST[:PORT]"),
            ("etcd://a,,b", "HOST[:PORT]"),
            ("etcd://a:0", "HOST[:PORT]"),
            ("etcd://a:x", "HOST[:PORT]"),
            ("etcd://a b", "HOST[:PORT]"),
            ("etcd://[::1", "HOST[:PORT]"),
            ("etcd://me:secret@a", "given apart"),
            ("etcd://a/x//y", "no prefix"),
            ("etcd://a/x?y=1", "no prefix"),
        ] {
            let error = text.parse::<ClusterUrl>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
