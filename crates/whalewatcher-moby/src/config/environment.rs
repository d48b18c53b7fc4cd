//! Docker's environment variables: `DOCKER_HOST` and others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use whalewatcher_core::{EngineError, ErrorKind};

/// The values of Docker's environment variables. An empty variable counts as unset, as for Docker's own tools.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    /// `DOCKER_HOST`
    pub(crate) host: Option<String>,
    /// `DOCKER_API_VERSION`
    pub(crate) api_version: Option<String>,
    /// `DOCKER_TLS_VERIFY`
    pub(crate) tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`
    pub(crate) cert_path: Option<String>,
    /// `DOCKER_CONTEXT`
    pub(crate) context: Option<String>,
    /// `DOCKER_CONFIG`
    pub(crate) config: Option<String>,
    /// `HOME`, below which the files of Docker's tools are by default.
    pub(crate) home: Option<String>,
}

impl Environment {
    /// Reads the variables by `variable`; an error if one is not UTF-8.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, EngineError> {
        let text =
            |name: &str| match variable(name).filter(|value| !value.is_empty()).map(OsString::into_string) {
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(_)) => {
                    let message = format!("{name} is not valid UTF-8: set it again or unset it");
                    Err(EngineError::new(ErrorKind::Configuration, message))
                }
                None => Ok(None),
            };
        Ok(Self {
            host: text("DOCKER_HOST")?,
            api_version: text("DOCKER_API_VERSION")?,
            tls_verify: text("DOCKER_TLS_VERIFY")?,
            cert_path: text("DOCKER_CERT_PATH")?,
            context: text("DOCKER_CONTEXT")?,
            config: text("DOCKER_CONFIG")?,
            home: text("HOME").ok().flatten(),
        })
    }

    /// Whether to use TLS over TCP. Docker's own programs differ: its tools look at `DOCKER_TLS_VERIFY`, its
    /// Go library at `DOCKER_CERT_PATH`. Here either requires it.
    pub(crate) fn wants_tls(&self) -> bool {
        self.tls_verify.is_some() || self.cert_path.is_some()
    }

    /// The folder with the certificates.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.cert_path.as_ref().map_or_else(|| self.folder(), PathBuf::from)
    }

    /// The folder with the files of Docker's tools.
    pub(crate) fn folder(&self) -> PathBuf {
        match &self.config {
            Some(folder) => folder.into(),
            None => Path::new(self.home.as_deref().unwrap_or("/")).join(".docker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn empty_variables_count_as_unset() {
        let environment = Environment::read(|name| (name != "DOCKER_HOST").then(OsString::new)).unwrap();
        assert!(environment.host.is_none() && environment.api_version.is_none() && !environment.wants_tls());
    }

    #[test]
    fn either_variable_requires_tls() {
        for variable in ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            assert!(
                Environment::read(|name| (name == variable).then(|| "1".into())).unwrap().wants_tls(),
                "{variable}"
            );
        }
    }

    #[test]
    fn certificates_are_in_the_folder_of_dockers_tools() {
        let set = |name: &str| {
            let known = ["HOME", "DOCKER_CONFIG", "DOCKER_CERT_PATH"];
            known.contains(&name).then(|| format!("/{name}").into())
        };
        let environment = Environment::read(set).unwrap();
        assert_eq!(environment.certificates(), Path::new("/DOCKER_CERT_PATH"));
        let environment = Environment { cert_path: None, ..environment };
        assert_eq!(environment.certificates(), Path::new("/DOCKER_CONFIG"));
        let environment = Environment { config: None, ..environment };
        assert_eq!(environment.certificates(), Path::new("/HOME/.docker"));
    }

    #[test]
    fn a_variable_that_is_not_text_is_refused_by_name() {
        let error = Environment::read(|_| Some(OsString::from_vec(vec![0xff]))).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().starts_with("DOCKER_HOST is not valid UTF-8"), "{error}");
    }
}
