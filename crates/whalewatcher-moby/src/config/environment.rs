//! What the environment says about where Docker is: `DOCKER_HOST` and its companions.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use whalewatcher_core::{EngineError, ErrorKind};

/// What is said; a variable that is empty says nothing, as for Docker's own tools.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `DOCKER_HOST`
    pub(crate) host: Option<String>,
    /// `DOCKER_API_VERSION`
    pub(crate) api_version: Option<String>,
    /// `DOCKER_TLS_VERIFY`
    pub(crate) tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`
    pub(crate) cert_path: Option<String>,
    /// `HOME`, below which the certificates are when nobody says where.
    pub(crate) home: Option<String>,
}

impl Environment {
    /// Asks `variable` for each; an error if one is not UTF-8.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, EngineError> {
        let text =
            |name: &str| match variable(name).filter(|value| !value.is_empty()).map(OsString::into_string) {
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(_)) => {
                    let message = format!("{name} is not valid UTF-8: set it anew or unset it");
                    Err(EngineError::new(ErrorKind::Configuration, message))
                }
                None => Ok(None),
            };
        Ok(Self {
            host: text("DOCKER_HOST")?,
            api_version: text("DOCKER_API_VERSION")?,
            tls_verify: text("DOCKER_TLS_VERIFY")?,
            cert_path: text("DOCKER_CERT_PATH")?,
            home: text("HOME").ok().flatten(),
        })
    }

    /// Whether TLS is to be spoken over TCP. Docker's own programs differ: its tools look at `DOCKER_TLS_VERIFY`, its
    /// Go library at `DOCKER_CERT_PATH`. Either is a wish for it here.
    pub(crate) fn wants_tls(&self) -> bool {
        self.tls_verify.is_some() || self.cert_path.is_some()
    }

    /// Where the certificates are.
    pub(crate) fn certificates(&self) -> PathBuf {
        match (&self.cert_path, &self.home) {
            (Some(folder), _) => folder.into(),
            (None, home) => Path::new(home.as_deref().unwrap_or("/")).join(".docker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn empty_variables_say_nothing() {
        let environment = Environment::read(|name| (name != "DOCKER_HOST").then(OsString::new)).unwrap();
        assert!(environment.host.is_none() && environment.api_version.is_none() && !environment.wants_tls());
    }

    #[test]
    fn either_variable_for_tls_is_a_wish_for_it() {
        for wish in ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            assert!(
                Environment::read(|name| (name == wish).then(|| "1".into())).unwrap().wants_tls(),
                "{wish}"
            );
        }
    }

    #[test]
    fn certificates_are_where_dockers_tools_have_them() {
        let set = |name: &str| matches!(name, "HOME" | "DOCKER_CERT_PATH").then(|| format!("/{name}").into());
        let environment = Environment::read(set).unwrap();
        assert_eq!(environment.certificates(), Path::new("/DOCKER_CERT_PATH"));
        let environment = Environment { cert_path: None, ..environment };
        assert_eq!(environment.certificates(), Path::new("/HOME/.docker"));
    }

    #[test]
    fn what_is_not_text_is_refused_by_the_variables_name() {
        let error = Environment::read(|_| Some(OsString::from_vec(vec![0xff]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().starts_with("DOCKER_HOST is not valid UTF-8"), "{error}");
    }
}
