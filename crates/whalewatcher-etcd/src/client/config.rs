//! How a client connects.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use whalewatcher_adapter::tls::Tls;
use whalewatcher_core::Printable;

use super::error::{Error, ErrorKind};
use crate::url::ClusterUrl;

/// How a client connects: the members, certificates, user and password, and time limits.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) url: ClusterUrl,
    pub(super) tls: Option<Tls>,
    pub(super) user: Option<(String, Password)>,
    pub(super) call_limit: Duration,
}

/// Where a password is.
#[derive(Clone)]
pub enum Password {
    /// In a file, which is read each time it is needed. Line ends at its end are left out.
    File(PathBuf),
    /// Here.
    Text(String),
}

impl Config {
    /// Creates a configuration. With `etcds://` the authorities that the system trusts are trusted, until there are
    /// [others](Self::with_certificates).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the system has no certificates.
    pub fn new(url: ClusterUrl) -> Result<Self, Error> {
        Self::with_certificates(url, None, None, None)
    }

    /// Creates a configuration with files in PEM: `ca` has the authorities to trust, by default those of the
    /// system; `certificate` and `key` are the client's, for an etcd that requires one. They are read again
    /// for each connection.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if a file cannot be read or used, or the URL is not one for TLS.
    pub fn with_certificates(
        url: ClusterUrl,
        ca: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Self, Error> {
        let tls = if url.is_secure() {
            let tls = Tls::from_files(ca, certificate, key).map_err(|error| Error::of_tls(&error))?;
            Some(tls.with_http2())
        } else if ca.or(certificate).or(key).is_some() {
            let why = "certificates are for TLS, and etcd:// has none: use etcds://";
            return Err(Error::new(ErrorKind::Configuration, why));
        } else {
            None
        };
        Ok(Self { url, tls, user: None, call_limit: Duration::from_secs(5) })
    }

    /// Sets user and password. Without them, etcd takes the common name of a client certificate for the user.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: Password) -> Self {
        self.user = Some((name.into(), password));
        self
    }

    /// Sets how long each call may take, without connecting: 5 seconds by default.
    #[must_use]
    pub fn with_call_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self
    }

    /// Returns the members and the prefix.
    #[must_use]
    pub fn url(&self) -> &ClusterUrl {
        &self.url
    }
}

impl Password {
    /// Blocks.
    pub(super) fn read(&self) -> Result<String, Error> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    let path = path.to_string_lossy();
                    let message = format!("the password cannot be read from {}: {error}", Printable(&path));
                    Error::new(ErrorKind::Configuration, message)
                })?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

/// Shows no password.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}
