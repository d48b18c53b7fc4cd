//! Versions of Docker's API, and their negotiation.

use std::fmt;

use whalewatcher_core::{EngineError, ErrorKind, Printable};

/// A version of Docker's API, compared number by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(u16, u16);

/// The oldest supported version: Docker 20.10.
pub(crate) const OLDEST: ApiVersion = ApiVersion(1, 41);
/// The newest supported version: Docker 29.
pub(crate) const NEWEST: ApiVersion = ApiVersion(1, 52);
/// The oldest supported major version of podman.
const OLDEST_PODMAN: u32 = 4;
/// The oldest version in which `OOMKilled` of a container that is alive is known to be about its present
/// life: Docker 26. In 20.10 it is about the former one.
pub(crate) const OOM_KILLS: ApiVersion = ApiVersion(1, 45);

impl ApiVersion {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (major, minor) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Parses the value of `DOCKER_API_VERSION`.
pub(crate) fn pinned(text: &str) -> Result<ApiVersion, EngineError> {
    ApiVersion::parse(text).filter(|version| (OLDEST..=NEWEST).contains(version)).ok_or_else(|| {
        let message = format!(
            "DOCKER_API_VERSION '{}' cannot be used: set it to a version from {OLDEST} to {NEWEST}, or unset it",
            Printable(text)
        );
        EngineError::new(ErrorKind::Configuration, message)
    })
}

/// Returns the newest version that both sides support, or the pinned one. An engine whose oldest version is
/// not known is taken to support all that are older than its newest. `podman` is podman's own version, if it
/// is podman.
pub(crate) fn negotiate(
    newest: ApiVersion,
    oldest: Option<ApiVersion>,
    pinned: Option<ApiVersion>,
    podman: Option<&str>,
) -> Result<ApiVersion, EngineError> {
    if newest < OLDEST || podman.is_some_and(is_old_podman) {
        let message = match podman {
            Some(version) => {
                format!("podman {} is too old: podman {OLDEST_PODMAN} or newer is needed", Printable(version))
            }
            None => {
                format!("Docker API {newest} is too old, {OLDEST} or newer is needed: Docker 20.10")
            }
        };
        return Err(EngineError::new(ErrorKind::TooOld, message));
    }
    let wanted = pinned.unwrap_or_else(|| newest.min(NEWEST));
    let because =
        if pinned.is_some() { "DOCKER_API_VERSION requires" } else { "this program supports up to" };
    if wanted > newest {
        let message =
            format!("the engine supports Docker API up to {newest}, and {because} {wanted}: unset it");
        return Err(EngineError::new(ErrorKind::TooOld, message));
    }
    match oldest {
        Some(oldest) if wanted < oldest => {
            let remedy = if pinned.is_some() { "unset it" } else { "a newer whalewatcher is needed" };
            let message =
                format!("the engine supports Docker API from {oldest} on, and {because} {wanted}: {remedy}");
            Err(EngineError::new(ErrorKind::TooNew, message))
        }
        _ => Ok(wanted),
    }
}

/// Whether this version of podman is too old. One that cannot be parsed is not.
fn is_old_podman(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major < OLDEST_PODMAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ApiVersion {
        ApiVersion::parse(text).unwrap()
    }

    #[test]
    fn the_newest_common_version_is_negotiated() {
        for (newest, oldest, pinned, taken) in [
            ("1.41", "1.12", None, "1.41"),
            ("1.45", "1.24", None, "1.45"),
            ("1.51", "1.24", None, "1.51"),
            ("1.52", "1.44", None, "1.52"),
            ("1.60", "1.44", None, "1.52"),
            ("2.0", "1.52", None, "1.52"),
            ("1.51", "1.24", Some("1.43"), "1.43"),
        ] {
            let negotiated = negotiate(version(newest), Some(version(oldest)), pinned.map(version), None);
            assert_eq!(negotiated.unwrap(), version(taken), "{newest}");
        }
        assert_eq!(negotiate(version("1.41"), None, None, None).unwrap(), version("1.41"));
    }

    #[test]
    fn engines_too_old_and_too_new_are_distinguished() {
        for (newest, oldest, pinned, kind, text) in [
            ("1.40", "1.12", None, ErrorKind::TooOld, "1.41 or newer is needed: Docker 20.10"),
            ("1.9", "1.1", None, ErrorKind::TooOld, "Docker API 1.9 is too old"),
            ("1.60", "1.53", None, ErrorKind::TooNew, "from 1.53 on, and this program supports up to 1.52"),
            ("1.45", "1.24", Some("1.47"), ErrorKind::TooOld, "DOCKER_API_VERSION requires 1.47"),
            ("1.52", "1.44", Some("1.43"), ErrorKind::TooNew, "DOCKER_API_VERSION requires 1.43"),
        ] {
            let error =
                negotiate(version(newest), Some(version(oldest)), pinned.map(version), None).unwrap_err();
            assert_eq!(error.kind(), kind, "{newest}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn an_error_for_an_old_podman_has_its_own_version() {
        for api in ["1.40", "1.41"] {
            let error = negotiate(version(api), None, None, Some("3.4.4")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooOld);
            assert_eq!(error.to_string(), "podman 3.4.4 is too old: podman 4 or newer is needed");
        }
        for podman in ["4.0.0", "5.8.6", "10.0.0", "", "four"] {
            assert!(negotiate(version("1.41"), None, None, Some(podman)).is_ok(), "{podman}");
        }
    }

    #[test]
    fn a_pinned_version_must_be_supported() {
        for text in ["1.47", "v1.47"] {
            assert_eq!(pinned(text).unwrap(), version("1.47"));
        }
        for text in ["1.40", "1.53", "latest", "", "1", "1.x", "1.47.1", "vv1.47"] {
            assert_eq!(pinned(text).unwrap_err().kind(), ErrorKind::Configuration, "{text}");
        }
    }
}
