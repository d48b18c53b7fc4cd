//! What to look for, and where.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use whalewatcher_core::Settings;

use crate::detector::Detector;
#[cfg(feature = "containerd")]
use crate::detectors::ContainerdDetector;
#[cfg(feature = "cri")]
use crate::detectors::CriDetector;
#[cfg(feature = "moby")]
use crate::detectors::DockerDetector;
#[cfg(feature = "podman")]
use crate::detectors::PodmanDetector;
use crate::finding::Finding;
#[cfg(feature = "moby")]
use crate::finding::FindingKind;

/// The default interval of looking at processes: a bit less than a second, so that an engine is found within one.
const EVERY: Duration = Duration::from_millis(800);

/// The default time for which an engine may be away before it leaves: enough for most restarts.
const GRACE: Duration = Duration::from_secs(15);

/// What to look for, and where.
#[derive(Clone)]
pub struct Options {
    pub(crate) detectors: Vec<Arc<dyn Detector>>,
    pub(crate) settings: Settings,
    pub(crate) every: Duration,
    pub(crate) grace: Duration,
    pub(crate) activate: bool,
    pub(crate) proc: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) home: Option<PathBuf>,
    pub(crate) named: Vec<String>,
    /// What the user named and cannot be used.
    pub(crate) unusable: Option<Finding>,
}

impl Default for Options {
    /// Looks for all kinds of engines that the crate's features name, on this host, and at the endpoints that
    /// Docker's and podman's tools use: that of `DOCKER_HOST` or else of the current context, and
    /// `CONTAINER_HOST`.
    fn default() -> Self {
        let mut options = Self {
            detectors: Vec::new(),
            settings: Settings::default(),
            every: EVERY,
            grace: GRACE,
            activate: false,
            proc: "/proc".into(),
            root: "/".into(),
            home: std::env::var_os("HOME").map(PathBuf::from),
            named: Vec::new(),
            unusable: None,
        };
        // podman has Docker's API too.
        #[cfg(feature = "podman")]
        options.detectors.push(Arc::new(PodmanDetector::new()));
        #[cfg(feature = "moby")]
        {
            match current_context() {
                Ok(endpoint) => options.named.extend(endpoint),
                Err(error) => {
                    let place = "Docker's current context";
                    options.unusable = Some(Finding::new(place, FindingKind::NoEngine, error.to_string()));
                }
            }
            options.detectors.push(Arc::new(DockerDetector::new()));
        }
        options.named.extend(variable("CONTAINER_HOST"));
        #[cfg(feature = "containerd")]
        options.detectors.push(Arc::new(ContainerdDetector::new()));
        #[cfg(feature = "cri")]
        options.detectors.push(Arc::new(CriDetector::new()));
        options
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the endpoint of the context that the user chose, if there is one.
#[cfg(feature = "moby")]
fn current_context() -> Result<Option<String>, whalewatcher_core::EngineError> {
    let context = whalewatcher_moby::Contexts::from_env()?.current()?;
    let is_chosen = variable("DOCKER_HOST").is_some() || context.name() != "default";
    Ok(is_chosen.then(|| context.endpoint().to_owned()))
}

impl Options {
    /// Looks for no kind of engine until detectors are added.
    #[must_use]
    pub fn without_detectors(mut self) -> Self {
        self.detectors.clear();
        self
    }

    /// Looks for another kind of engine too. Detectors are asked in the order in which they were added.
    #[must_use]
    pub fn with_detector(mut self, detector: impl Detector) -> Self {
        self.detectors.push(Arc::new(detector));
        self
    }

    /// Sets the settings of the watchers.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the interval of looking at processes; at least 100 ms. Default: 800 ms. Sockets in the usual
    /// places are also noticed between two looks.
    #[must_use]
    pub fn with_interval(mut self, every: Duration) -> Self {
        self.every = every.max(Duration::from_millis(100));
        self
    }

    /// Sets how long an engine may be away before it leaves the fleet. Default: 15 seconds. An engine that
    /// returns within that time is the same engine: only what changed meanwhile is announced.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Connects also to sockets of engines that do not run, at which the service manager listens: that starts
    /// the engine. Without this, such a socket is a [`Finding`](crate::Finding).
    #[must_use]
    pub fn with_activation(mut self, activate: bool) -> Self {
        self.activate = activate;
        self
    }

    /// Sets where the host's processes are, if not in `/proc`.
    #[must_use]
    pub fn with_proc(mut self, proc: impl Into<PathBuf>) -> Self {
        self.proc = proc.into();
        self
    }

    /// Sets the folder below which the usual places of sockets are, if not `/`.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// Sets the home folder of the user, if not that of the variable `HOME`.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Sets the endpoints to look at in addition to those that are found, instead of those of the environment.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.named = endpoints.into_iter().map(Into::into).collect();
        self.unusable = None;
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("every", &self.every)
            .field("grace", &self.grace)
            .field("activate", &self.activate)
            .field("proc", &self.proc)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
