//! Docker's contexts: the engines that `docker context` manages.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::config::endpoint::{DEFAULT_ENDPOINT, without_password};
use crate::config::environment::Environment;

/// The context that is not stored: what the environment names, else the default endpoint.
const DEFAULT: &str = "default";

/// The size of a file of Docker's tools. Those with contexts have some hundred bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The contexts of Docker's tools, as `docker context ls` shows them. They are read from files whenever they
/// are asked for.
///
/// ```no_run
/// use whalewatcher_moby::{Client, Contexts};
///
/// # fn example() -> Result<(), whalewatcher_moby::EngineError> {
/// let context = Contexts::from_env()?.get("build-server")?;
/// let client = Client::builder().context(context).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Contexts {
    folder: PathBuf,
    environment: Environment,
}

/// An engine as Docker's tools know it: a name, an endpoint and, for an engine with TLS, where its certificates are.
#[derive(Clone, PartialEq, Eq)]
pub struct Context {
    name: String,
    endpoint: String,
    /// The folder with its certificates.
    certificates: Option<PathBuf>,
    skips_verification: bool,
}

impl Contexts {
    /// Returns the contexts in the folder `DOCKER_CONFIG`, by default `~/.docker`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if a variable of Docker's tools is not UTF-8. No file is read yet.
    pub fn from_env() -> Result<Self, EngineError> {
        Environment::read(|name| std::env::var_os(name)).map(Self::of)
    }

    /// Returns the contexts in a folder such as `~/.docker`, without regard to the environment.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), environment: Environment::default() }
    }

    pub(crate) fn of(environment: Environment) -> Self {
        Self { folder: environment.folder(), environment }
    }

    /// Returns the stored contexts that have a Docker endpoint, in the order of their names. Each that cannot
    /// be used is an error that names the file. There are none if there is no such folder.
    #[must_use]
    pub fn all(&self) -> Vec<Result<Context, EngineError>> {
        let (mut contexts, mut errors) = (Vec::new(), Vec::new());
        for stored in self.stored() {
            match stored {
                Ok(context) => contexts.push(context),
                Err(Unusable::NoEndpoint(..)) => {}
                Err(Unusable::File(error)) => errors.push(error),
            }
        }
        contexts.sort_by(|one, other| one.name.cmp(&other.name));
        contexts.into_iter().map(Ok).chain(errors.into_iter().map(Err)).collect()
    }

    /// Returns the context with this name. `default` is what `DOCKER_HOST` and the other variables name, by default
    /// `unix:///var/run/docker.sock`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if there is none, if it has no Docker endpoint, or if its file cannot be used.
    pub fn get(&self, name: &str) -> Result<Context, EngineError> {
        if name == DEFAULT {
            return Ok(self.default());
        }
        let mut malformed = None;
        for stored in self.stored() {
            match stored {
                Ok(context) if context.name == name => return Ok(context),
                Err(Unusable::NoEndpoint(known, file)) if known == name => {
                    return Err(unusable(&file, "it has no endpoint for Docker"));
                }
                Err(Unusable::File(error)) => malformed = malformed.or(Some(error)),
                Ok(_) | Err(Unusable::NoEndpoint(..)) => {}
            }
        }
        let message = match malformed {
            Some(error) => format!("no Docker context '{}' was found, but {error}", Printable(name)),
            None => format!(
                "there is no Docker context '{}' in {}: 'docker context ls' shows all",
                Printable(name),
                Printable(&self.folder.to_string_lossy())
            ),
        };
        Err(EngineError::new(ErrorKind::Configuration, message))
    }

    /// Returns the context that Docker's tools use without arguments: `default` if `DOCKER_HOST` is set, else
    /// the one that `DOCKER_CONTEXT` or else `docker context use` names, else `default`. An empty variable
    /// counts as unset.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] as for [`get`](Self::get), or if `config.json` cannot be used.
    pub fn current(&self) -> Result<Context, EngineError> {
        if self.environment.host.is_some() {
            return Ok(self.default());
        }
        if let Some(name) = &self.environment.context {
            return self.get(name).map_err(|error| prefixed("DOCKER_CONTEXT", &error));
        }
        let file = self.folder.join("config.json");
        let config: Option<ConfigFile> = read(&file).map_err(|why| {
            let advice = "repair it, or name the engine with DOCKER_HOST or DOCKER_CONTEXT";
            unusable(&file, &format!("{why}: {advice}"))
        })?;
        match config.and_then(|config| config.current_context).filter(|name| !name.is_empty()) {
            Some(name) => self
                .get(&name)
                .map_err(|error| prefixed(&format!("currentContext in {}", file.display()), &error)),
            None => Ok(self.default()),
        }
    }

    /// The context of the environment.
    fn default(&self) -> Context {
        let environment = &self.environment;
        Context {
            name: DEFAULT.into(),
            endpoint: environment.host.clone().unwrap_or_else(|| DEFAULT_ENDPOINT.into()),
            certificates: environment.wants_tls().then(|| environment.certificates()),
            skips_verification: false,
        }
    }

    /// Reads all stored contexts. Each has a folder whose name is derived from that of the context.
    fn stored(&self) -> Vec<Result<Context, Unusable>> {
        let folder = self.folder.join("contexts/meta");
        let names = fs::read_dir(&folder).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let mut names = match names {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => return vec![Err(Unusable::File(unusable(&folder, &error.to_string())))],
        };
        names.sort();
        let context = |id| self.read_context(&folder.join(id).join("meta.json"), Path::new(id)).transpose();
        names.iter().filter_map(context).collect()
    }

    /// Reads a context; `None` if there is no such file.
    fn read_context(&self, file: &Path, id: &Path) -> Result<Option<Context>, Unusable> {
        let meta: Option<Meta> = read(file).map_err(|why| {
            let advice = "repair it, or remove that folder";
            Unusable::File(unusable(file, &format!("{why}: {advice}")))
        })?;
        let Some(Meta { name, endpoints }) = meta else { return Ok(None) };
        let Some(StoredEndpoint { host, skips_verification }) = endpoints.and_then(|all| all.docker) else {
            return Err(Unusable::NoEndpoint(name, file.into()));
        };
        let certificates = self.folder.join("contexts/tls").join(id).join("docker");
        Ok(Some(Context {
            name,
            endpoint: host.filter(|host| !host.is_empty()).unwrap_or_else(|| DEFAULT_ENDPOINT.into()),
            certificates: certificates.is_dir().then_some(certificates),
            skips_verification,
        }))
    }
}

impl Context {
    /// A context for this endpoint without certificates of its own.
    pub(crate) fn of_endpoint(endpoint: String) -> Self {
        Self { name: String::new(), endpoint, certificates: None, skips_verification: false }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its endpoint as it was configured, such as `ssh://me@whale`. It may be one that is not supported.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the folder with `ca.pem`, `cert.pem` and `key.pem` for an engine with TLS, if it has one.
    #[must_use]
    pub fn certificates(&self) -> Option<&Path> {
        self.certificates.as_deref()
    }

    /// Returns whether the context says that the engine's certificate is not verified (`skip-tls-verify`).
    #[must_use]
    pub fn skips_tls_verification(&self) -> bool {
        self.skips_verification
    }

    /// Whether TCP means TLS.
    pub(crate) fn wants_tls(&self) -> bool {
        self.certificates.is_some() || self.skips_verification
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name)
            .field("endpoint", &without_password(&self.endpoint))
            .field("certificates", &self.certificates)
            .field("skips_verification", &self.skips_verification)
            .finish()
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why a stored context is not usable.
enum Unusable {
    /// It is not for Docker, as one for Kubernetes: its name and file.
    NoEndpoint(String, PathBuf),
    File(EngineError),
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    endpoints: Option<Endpoints>,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Option<StoredEndpoint>,
}

#[derive(Deserialize)]
struct StoredEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify", default)]
    skips_verification: bool,
}

/// Reads a JSON file, if it exists.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(format!("it has more than {MAX_FILE} bytes"));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| error.to_string())
}

fn unusable(path: &Path, why: &str) -> EngineError {
    let message = format!("{} cannot be used: {}", Printable(&path.to_string_lossy()), Printable(why));
    EngineError::new(ErrorKind::Configuration, message)
}

pub(crate) fn prefixed(origin: &str, error: &EngineError) -> EngineError {
    EngineError::new(error.kind(), format!("{}: {error}", Printable(origin)))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder of Docker's tools with these files.
    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn contexts(folder: &TempDir, variables: &[(&str, &str)]) -> Contexts {
        let environment = Environment::read(|name| {
            let set = variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            set.or_else(|| (name == "DOCKER_CONFIG").then(|| folder.path().into()))
        });
        Contexts::of(environment.unwrap())
    }

    const WHALE: (&str, &str) = (
        "contexts/meta/ab/meta.json",
        r#"{"Name":"whale","Metadata":{"Description":"x"},"Endpoints":{"docker":{"Host":"ssh://me@whale","SkipTLSVerify":false}}}"#,
    );
    const TLS: (&str, &str) = (
        "contexts/meta/cd/meta.json",
        r#"{"Name":"a-tls","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://whale:2376","SkipTLSVerify":true}}}"#,
    );
    const KUBERNETES: (&str, &str) =
        ("contexts/meta/ef/meta.json", r#"{"Name":"kube","Endpoints":{"kubernetes":{"Host":"https://k"}}}"#);
    const BROKEN: (&str, &str) = ("contexts/meta/00/meta.json", "{");

    #[test]
    fn contexts_are_read_with_their_certificates() {
        let folder = folder(&[WHALE, TLS, KUBERNETES, ("contexts/tls/cd/docker/ca.pem", "")]);
        let all: Vec<_> = contexts(&folder, &[]).all().into_iter().map(Result::unwrap).collect();
        let names: Vec<_> = all.iter().map(Context::name).collect();
        assert_eq!(names, ["a-tls", "whale"], "those for Docker, by name");
        assert_eq!((all[1].endpoint(), all[1].certificates()), ("ssh://me@whale", None));
        assert!(all[0].skips_tls_verification() && !all[1].skips_tls_verification());
        assert_eq!(all[0].certificates(), Some(&*folder.path().join("contexts/tls/cd/docker")));
        assert_eq!(Contexts::in_folder(folder.path()).get("whale").unwrap(), all[1]);
    }

    #[test]
    fn a_folder_without_contexts_has_none() {
        let empty = folder(&[]);
        assert!(contexts(&empty, &[]).all().is_empty());
        assert_eq!(contexts(&empty, &[]).current().unwrap().endpoint(), DEFAULT_ENDPOINT);
        // A folder is left behind by a context that was removed.
        let remains = folder(&[("contexts/meta/ab/other", "")]);
        assert!(contexts(&remains, &[]).all().is_empty());
    }

    #[test]
    fn a_malformed_file_is_one_error_that_names_it() {
        let broken = folder(&[BROKEN, WHALE]);
        let all = contexts(&broken, &[]).all();
        assert_eq!(all.iter().filter(|context| context.is_ok()).count(), 1);
        let error = all.into_iter().find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let file = broken.path().join(BROKEN.0);
        assert!(error.to_string().starts_with(&format!("{} cannot be used: EOF", file.display())), "{error}");
        assert!(contexts(&broken, &[]).get("whale").is_ok());
        let error = contexts(&broken, &[]).get("other").unwrap_err().to_string();
        assert!(error.starts_with("no Docker context 'other' was found, but /"), "{error}");

        for (text, reason) in [
            (r#"{"Endpoints":{}}"#.to_owned(), "missing field `Name`"),
            (r#"{"Name":"x","Endpoints":{"docker":{"Host":7}}}"#.to_owned(), "invalid type"),
            (" ".repeat(1024 * 1024 + 1), "more than 1048576 bytes"),
        ] {
            let error = contexts(&folder(&[(BROKEN.0, &text)]), &[]).all().remove(0).unwrap_err().to_string();
            assert!(error.contains("00/meta.json cannot be used") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn an_unknown_context_is_an_error_that_says_where_it_was_sought() {
        let folder = folder(&[WHALE, KUBERNETES]);
        let unknown = contexts(&folder, &[]).get("no\nne").unwrap_err().to_string();
        assert!(unknown.starts_with(r"there is no Docker context 'no\nne' in /"), "{unknown}");
        let other = contexts(&folder, &[]).get("kube").unwrap_err().to_string();
        assert!(other.ends_with("ef/meta.json cannot be used: it has no endpoint for Docker"), "{other}");
    }

    #[test]
    fn the_current_context_is_that_of_dockers_tools() {
        let used = |name| format!(r#"{{"auths":{{}},"currentContext":"{name}"}}"#);
        let folder_with = |config: &str| folder(&[WHALE, TLS, ("config.json", config)]);
        for (config, variables, expected) in [
            (used("whale"), &[][..], "ssh://me@whale"),
            (used("whale"), &[("DOCKER_CONTEXT", "a-tls")][..], "tcp://whale:2376"),
            (used("whale"), &[("DOCKER_CONTEXT", "default")], DEFAULT_ENDPOINT),
            (used("whale"), &[("DOCKER_CONTEXT", "")], "ssh://me@whale"),
            (used("whale"), &[("DOCKER_HOST", "tcp://x"), ("DOCKER_CONTEXT", "a-tls")], "tcp://x"),
            (used("default"), &[], DEFAULT_ENDPOINT),
            (used(""), &[], DEFAULT_ENDPOINT),
            ("{}".into(), &[], DEFAULT_ENDPOINT),
            // Not read, because it is not needed.
            ("?".into(), &[("DOCKER_HOST", "tcp://x")], "tcp://x"),
            ("?".into(), &[("DOCKER_CONTEXT", "whale")], "ssh://me@whale"),
        ] {
            let folder = folder_with(&config);
            let context = contexts(&folder, variables).current().unwrap();
            assert_eq!(context.endpoint(), expected, "{config} {variables:?}");
        }
        for (config, variables, reason) in [
            ("?".to_owned(), &[][..], "config.json cannot be used: expected value"),
            (used("gone"), &[][..], "config.json: there is no Docker context 'gone'"),
            (
                used("whale"),
                &[("DOCKER_CONTEXT", "gone")],
                "DOCKER_CONTEXT: there is no Docker context 'gone'",
            ),
        ] {
            let folder = folder_with(&config);
            let error = contexts(&folder, variables).current().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn the_default_context_has_the_certificates_of_the_environment() {
        let folder = folder(&[WHALE, ("config.json", r#"{"currentContext":"whale"}"#)]);
        let variables = [("DOCKER_HOST", "tcp://x"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/c")];
        let default = contexts(&folder, &variables).get("default").unwrap();
        assert_eq!((default.name(), default.endpoint()), ("default", "tcp://x"));
        assert_eq!(default.certificates(), Some(Path::new("/c")));
        assert_eq!(contexts(&folder, &variables[..1]).get("default").unwrap().certificates(), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let context = Context::of_endpoint("tcp://me:s3cr3t@whale".into());
        assert!(!format!("{context:?}").contains("s3cr3t"), "{context:?}");
        let folder = folder(&[]);
        let contexts = contexts(&folder, &[("DOCKER_HOST", "tcp://me:s3cr3t@whale")]);
        assert!(!format!("{contexts:?}").contains("s3cr3t"), "{contexts:?}");
    }
}
