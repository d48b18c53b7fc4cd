//! Where podman's service listens: by the environment, or by default.

use std::ffi::OsString;
use std::path::PathBuf;

use whalewatcher_core::{EngineError, ErrorKind, Printable};

/// The socket of root's podman.
const OF_ROOT: &str = "/run/podman/podman.sock";
/// The socket of a user's podman, in that user's folder for sockets.
const OF_USER: &str = "podman/podman.sock";

const VARIABLE: &str = "CONTAINER_HOST";

/// Returns the endpoint that the environment names, by default that of this user.
pub(crate) fn from_environment() -> Result<String, EngineError> {
    match named(std::env::var_os(VARIABLE))? {
        Some(endpoint) => Ok(endpoint),
        None => Ok(default()),
    }
}

/// Returns the endpoint of this user's podman; root's is that of the system.
pub(crate) fn default() -> String {
    let user = rustix::process::geteuid();
    default_of(user.as_raw(), std::env::var_os("XDG_RUNTIME_DIR"))
}

fn default_of(user: u32, folder: Option<OsString>) -> String {
    if user == 0 {
        return format!("unix://{OF_ROOT}");
    }
    let folder = folder.filter(|folder| !folder.is_empty());
    let folder = folder.map_or_else(|| PathBuf::from(format!("/run/user/{user}")), PathBuf::from);
    format!("unix://{}", folder.join(OF_USER).display())
}

fn named(value: Option<OsString>) -> Result<Option<String>, EngineError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value
        .into_string()
        .map_err(|_| wrong(format!("{VARIABLE} is not valid UTF-8: set it again or unset it")))?;
    check(&value).map_err(|error| wrong(format!("{VARIABLE}: {error}")))?;
    Ok(Some(value))
}

/// Fails for an endpoint that only podman's own tools can use.
pub(crate) fn check(endpoint: &str) -> Result<(), EngineError> {
    match endpoint.split_once("://") {
        Some(("ssh", _)) => Err(wrong(
            "podman over ssh:// is not supported: forward its socket with 'ssh -L', and name that socket"
                .to_owned(),
        )),
        Some(("unix" | "tcp" | "http", _)) => Ok(()),
        None if endpoint.starts_with('/') => Ok(()),
        _ => Err(wrong(format!(
            "endpoint '{}' cannot be used: unix:///path, /path, tcp://host:port or http://host:port is supported",
            Printable(endpoint)
        ))),
    }
}

fn wrong(message: String) -> EngineError {
    EngineError::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn root_and_each_user_have_a_socket_of_their_own() {
        for (user, folder, endpoint) in [
            (0, None, "unix:///run/podman/podman.sock"),
            (0, Some("/run/user/0"), "unix:///run/podman/podman.sock"),
            (1000, Some("/tmp/of-me"), "unix:///tmp/of-me/podman/podman.sock"),
            (1000, Some(""), "unix:///run/user/1000/podman/podman.sock"),
            (1000, None, "unix:///run/user/1000/podman/podman.sock"),
        ] {
            assert_eq!(default_of(user, folder.map(OsString::from)), endpoint);
        }
    }

    #[test]
    fn the_environment_names_the_endpoint() {
        let endpoint = |value: &str| named(Some(value.into())).unwrap();
        assert_eq!(named(None).unwrap(), None);
        assert_eq!(endpoint(""), None);
        assert_eq!(endpoint("unix:///run/p.sock").as_deref(), Some("unix:///run/p.sock"));
        assert_eq!(endpoint("tcp://whale:1").as_deref(), Some("tcp://whale:1"));
        for (value, text) in [
            (OsString::from("ssh://me@whale/run/p.sock"), "forward its socket with 'ssh -L'"),
            ("whale".into(), "CONTAINER_HOST: endpoint 'whale' cannot be used: unix:///path"),
            ("https://whale".into(), "tcp://host:port"),
            (OsString::from_vec(vec![0xff]), "CONTAINER_HOST is not valid UTF-8"),
        ] {
            let error = named(Some(value)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
