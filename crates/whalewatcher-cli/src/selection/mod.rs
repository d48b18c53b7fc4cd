//! Which containers a command shows.

mod conditions;
mod engines;
mod pattern;

use std::sync::Arc;

use whalewatcher_core::{Container, Event, EventKind, Printable, Watcher};

use self::conditions::Conditions;
pub(crate) use self::conditions::LEAST_ID;
pub(crate) use self::conditions::familiar;
#[cfg(feature = "serve")]
pub(crate) use self::conditions::without_tag;
pub(crate) use self::pattern::Pattern;
use crate::args::{FilterArgs, wrong};

/// The number of characters of an ID that are shown, as by the engines' own programs, and that stand for it.
pub(crate) const SHORT_ID: usize = 12;

/// Decides which containers are shown: those of one of the engines, with one of the names, of one of the
/// projects and pods, for which the conditions hold. A part that is empty selects all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    names: Vec<Pattern>,
    conditions: Conditions,
    projects: Vec<Pattern>,
    pods: Vec<Pattern>,
    engines: Vec<Pattern>,
}

impl Selection {
    /// Reads names and filters of the command line.
    ///
    /// # Errors
    ///
    /// If one of them is invalid: wrong usage.
    pub(crate) fn new(names: &[String], filters: &FilterArgs) -> anyhow::Result<Self> {
        Self::read(names, filters).map_err(wrong)
    }

    /// Reads names and filters.
    ///
    /// # Errors
    ///
    /// If one of them is invalid: which, and why.
    pub(crate) fn read(names: &[String], filters: &FilterArgs) -> Result<Self, String> {
        let mut conditions = Conditions::default();
        for filter in &filters.filters {
            let reason = conditions.add(filter);
            reason.map_err(|reason| format!("--filter {}: {reason}", Printable(filter)))?;
        }
        for label in &filters.labels {
            conditions.add_label(label).map_err(|reason| format!("--label: {reason}"))?;
        }
        let patterns = |texts: &[String], option: &str| {
            let all: Result<Vec<_>, _> = texts.iter().map(|text| Pattern::new(text)).collect();
            all.map_err(|reason| format!("{option}{}", Printable(&reason)))
        };
        Ok(Self(Arc::new(Parts {
            names: patterns(names, "")?,
            conditions,
            projects: patterns(&filters.projects, "--project: ")?,
            pods: patterns(&filters.pods, "--pod: ")?,
            engines: patterns(&filters.engines, "--engine: ")?,
        })))
    }

    /// Returns whether all containers are shown.
    pub(crate) fn is_all(&self) -> bool {
        let Parts { names, conditions, projects, pods, engines } = &*self.0;
        names.is_empty()
            && conditions.are_none()
            && projects.is_empty()
            && pods.is_empty()
            && engines.is_empty()
    }

    /// Returns whether containers are selected by their names.
    pub(crate) fn has_names(&self) -> bool {
        !self.0.names.is_empty()
    }

    /// Returns the names by which containers are selected; `None` if there is none, or one with wildcards.
    #[cfg(feature = "serve")]
    pub(crate) fn plain_names(&self) -> Option<impl Iterator<Item = &str>> {
        let names = &self.0.names;
        let is_plain = !names.is_empty() && !names.iter().any(Pattern::has_wildcards);
        is_plain.then(|| names.iter().map(Pattern::text))
    }

    /// Returns whether a container of this engine is shown.
    pub(crate) fn matches(&self, watcher: &dyn Watcher, container: &Container) -> bool {
        self.selects_engine_of(watcher) && self.selects(container)
    }

    /// Returns whether an event is shown. Events without a container are, unless they are of another engine,
    /// and so are those of containers that join or leave the selection.
    pub(crate) fn shows(&self, watcher: &dyn Watcher, event: &Event) -> bool {
        let Some(container) = event.subject() else { return self.concerns(watcher) };
        if self.matches(watcher, container) {
            return true;
        }
        match &event.kind {
            EventKind::Updated { was, .. } => self.matches(watcher, was),
            EventKind::Moved { was, from, .. } => {
                self.selects_engine(from.engine_type(), from.endpoint(), None) && self.selects(was)
            }
            EventKind::Paused(now) | EventKind::Unpaused(now) => {
                let was = Container::clone(now).with_paused(!now.paused());
                self.matches(watcher, &was)
            }
            _ => false,
        }
    }

    /// Returns whether a recorded event is shown, whatever its engine is. Events about no container are.
    pub(crate) fn selects_recorded(&self, event: &Event) -> bool {
        event.subject().is_none_or(|container| self.selects(container))
    }

    fn selects(&self, container: &Container) -> bool {
        let Parts { names, .. } = &*self.0;
        (names.is_empty() || names.iter().any(|name| is_named(container, name)))
            && self.selects_unnamed(container)
    }

    /// Returns whether a container is shown, whatever its name is.
    fn selects_unnamed(&self, container: &Container) -> bool {
        let Parts { conditions, projects, pods, .. } = &*self.0;
        let project = container.project();
        conditions.match_container(container)
            && (projects.is_empty() || projects.iter().any(|wanted| wanted.matches(project)))
            && (pods.is_empty() || pods.iter().any(|wanted| is_of_pod(container, wanted)))
    }

    /// Returns the names that stand for none of these containers, which are the selected ones.
    pub(crate) fn unmatched(&self, selected: &[&Container]) -> impl Iterator<Item = &str> {
        let is_missing = |name: &&Pattern| !selected.iter().any(|container| is_named(container, name));
        self.0.names.iter().filter(is_missing).map(Pattern::text)
    }

    /// Returns the sentence about a name that stands for no container. Unless `complete`, it does not claim
    /// that there is none.
    pub(crate) fn nothing_named(&self, name: &str, complete: bool) -> String {
        let Parts { conditions, projects, pods, engines, .. } = &*self.0;
        let is_filtered =
            !(conditions.are_none() && projects.is_empty() && pods.is_empty() && engines.is_empty());
        let filters = if is_filtered { " and the filters" } else { "" };
        format!("{} matches '{}'{filters}", no_container(complete), Printable(name))
    }

    /// Returns the sentence for a selection without containers. Unless `complete`, it does not claim that
    /// there are none.
    pub(crate) fn nothing(&self, complete: bool) -> String {
        let Parts { names, conditions, projects, pods, engines } = &*self.0;
        let known = if complete { "" } else { "known to be " };
        let others = conditions.are_none() && pods.is_empty() && engines.is_empty();
        match (names.as_slice(), projects.as_slice()) {
            ([], []) if others => format!("no container is {known}alive"),
            ([], [project]) if others && project.text().is_empty() => {
                format!("no container without a project is {known}alive")
            }
            ([], [project]) if others => {
                format!("no container of project '{}' is {known}alive", Printable(project.text()))
            }
            ([], _) => format!("{} matches the filters", no_container(complete)),
            ([name], _) => self.nothing_named(name.text(), complete),
            _ => format!("{} matches any of the names", no_container(complete)),
        }
    }
}

fn no_container(complete: bool) -> &'static str {
    if complete { "no live container" } else { "no container that is known to be alive" }
}

/// Returns whether this stands for the container: its name, its ID with or without containerd's namespace, or the first
/// characters of that. Wildcards are for names only, since 'a*' would match IDs by chance.
pub(crate) fn is_named(container: &Container, name: &Pattern) -> bool {
    let id = container.id().as_str();
    let short = id.rsplit_once('/').map_or(id, |(_, id)| id);
    name.matches(container.name())
        || [id, short].contains(&name.text())
        || begins(name, id)
        || begins(name, short)
}

/// Returns whether these are the first characters of an ID: as many as tables show, and from [`LEAST_ID`] on
/// if the ID is a hash, as Docker accepts them. Shorter ones would match names of others by chance.
fn begins(name: &Pattern, id: &str) -> bool {
    let least = if is_hash(id) { LEAST_ID } else { SHORT_ID };
    name.text().chars().count() >= least && id.starts_with(name.text())
}

/// Returns whether an ID is a hash, as those of Docker, podman and CRI runtimes are.
pub(crate) fn is_hash(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether a container belongs to this pod, given as `NAME` or `NAMESPACE/NAME`.
fn is_of_pod(container: &Container, wanted: &Pattern) -> bool {
    container.pod().is_some_and(|pod| {
        wanted.matches(&format!("{}/{}", pod.namespace(), pod.name()))
            || !wanted.text().contains('/') && wanted.matches(pod.name())
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use whalewatcher_core::{
        COMPOSE_PROJECT_LABEL, EngineKey, EngineWatcher, Labels, POD_NAME_LABEL, POD_NAMESPACE_LABEL,
    };
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    fn container(id: &str, name: &str, project: &str) -> Container {
        let labels = (!project.is_empty()).then_some((COMPOSE_PROJECT_LABEL, project));
        Container::new(id, name, 1).with_labels(Labels::from_iter(labels))
    }

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    fn named(names: &[&str]) -> Selection {
        Selection::new(&texts(names), &FilterArgs::default()).unwrap()
    }

    fn filtered(filters: &FilterArgs) -> Selection {
        Selection::new(&[], filters).unwrap()
    }

    fn of_projects(projects: &[&str]) -> Selection {
        filtered(&FilterArgs { projects: texts(projects), ..FilterArgs::default() })
    }

    fn watcher() -> EngineWatcher<Engine> {
        EngineWatcher::new(Engine::at("unix:///run/a"))
    }

    #[test]
    fn no_project_matches_all_and_the_empty_project_those_without_one() {
        let (web, lone) = (container("web", "web", "shop"), container("lone", "lone", ""));
        let held = |projects: &[&str]| {
            let selection = of_projects(projects);
            assert_eq!(selection.is_all(), projects.is_empty());
            (selection.matches(&watcher(), &web), selection.matches(&watcher(), &lone))
        };
        assert_eq!(held(&[]), (true, true));
        assert_eq!(held(&["shop"]), (true, false));
        assert_eq!(held(&["sh*"]), (true, false));
        assert_eq!(held(&[""]), (false, true));
        assert_eq!(held(&["", "shop"]), (true, true));
    }

    #[test]
    fn names_ids_and_what_tables_show_of_ids_stand_for_a_container() {
        let hash = "0123456789abcdef".repeat(4);
        let web = container(&hash, "shop-web-1", "");
        let moby = container("ns/a-long-containerd-id", "ns/a-long-containerd-id", "");
        for (name, is_web, is_moby) in [
            ("shop-web-1", true, false),
            ("shop-web", false, false),
            ("shop-*", true, false),
            ("*", true, true),
            (&hash, true, false),
            ("0123456789ab", true, false),
            ("0123", true, false),
            ("012", false, false),
            ("0*", false, false),
            ("ns/a-long-containerd-id", false, true),
            ("a-long-containerd-id", false, true),
            ("a-long-conta", false, true),
            ("a-long-cont", false, false),
        ] {
            let selection = named(&[name]);
            let held = [&web, &moby].map(|container| selection.matches(&watcher(), container));
            assert_eq!(held, [is_web, is_moby], "{name}");
        }
    }

    #[test]
    fn pods_are_selected_with_or_without_their_namespace() {
        let labels = Labels::from_iter([(POD_NAMESPACE_LABEL, "default"), (POD_NAME_LABEL, "web-0")]);
        let app = Container::new("1", "app", 1).with_labels(labels);
        for (pod, expected) in
            [("web-0", true), ("default/web-0", true), ("web-*", true), ("*/web-0", true), ("web", false)]
        {
            let selection = filtered(&FilterArgs { pods: texts(&[pod]), ..FilterArgs::default() });
            assert_eq!(selection.matches(&watcher(), &app), expected, "{pod}");
            assert!(!selection.matches(&watcher(), &container("2", "web-0", "")));
        }
    }

    #[test]
    fn engines_are_selected_by_type_endpoint_and_id() {
        let of =
            |engines: &[&str]| filtered(&FilterArgs { engines: texts(engines), ..FilterArgs::default() });
        let web = container("1", "web", "");
        for (engine, is_selected, concerns) in [
            ("scripted", true, true),
            ("unix:///run/a", true, true),
            ("*/run/?", true, true),
            ("docker", false, false),
            ("unix:///run/b", false, false),
            // Its ID is not known before a connection.
            ("some-id", false, true),
        ] {
            let (selection, watcher) = (of(&[engine]), watcher());
            assert_eq!(selection.matches(&watcher, &web), is_selected, "{engine}");
            assert_eq!(selection.concerns(&watcher), concerns, "{engine}");
            let synced = event(EventKind::Synced { containers: 0, unresolved: 0 });
            assert_eq!(selection.shows(&watcher, &synced), concerns, "{engine}");
        }
        let docker = of(&["docker"]);
        assert!(docker.selects_engine("docker.com", "unix:///x", None));
        assert!(of(&["containerd:///x"]).selects_engine("containerd.io", "unix:///x", None));
        assert!(of(&["0123456789ab"]).selects_engine("docker.com", "unix:///x", Some("0123456789ab-cdef")));
        let from = EngineKey::new("docker.com", "unix:///x");
        let moved = EventKind::Moved { container: Arc::new(web.clone()), was: Arc::new(web), from };
        assert!(docker.shows(&watcher(), &event(moved)), "it leaves the engine that is shown");
    }

    fn event(kind: EventKind) -> Event {
        Event::new(SystemTime::now(), kind)
    }

    #[test]
    fn a_container_that_leaves_the_selection_is_shown_once_more() {
        let shop = of_projects(&["shop"]);
        let updated = |was, now| {
            event(EventKind::Updated {
                container: Arc::new(container("web", "web", now)),
                was: Arc::new(container("web", "web", was)),
            })
        };
        let shows = |event: &Event| shop.shows(&watcher(), event);
        assert!(shows(&updated("shop", "")) && shows(&updated("", "shop")));
        assert!(!shows(&updated("", "cart")));
        assert!(!shows(&event(EventKind::Started(Arc::new(container("new", "new", ""))))));
        assert!(shows(&event(EventKind::Lagged { missed: 1 })));

        let running = filtered(&FilterArgs { filters: texts(&["status=running"]), ..FilterArgs::default() });
        let paused = Arc::new(container("web", "web", "").with_paused(true));
        assert!(running.shows(&watcher(), &event(EventKind::Paused(paused.clone()))));
        assert!(!running.shows(&watcher(), &event(EventKind::Exited { container: paused, code: None })));
    }

    #[test]
    fn names_without_a_container_are_returned() {
        let web = container("0123", "web", "");
        let selection = named(&["web", "db", "0123", "x*"]);
        assert_eq!(selection.unmatched(&[&web]).collect::<Vec<_>>(), ["db", "x*"]);
    }

    #[test]
    fn nothing_is_claimed_that_is_not_known() {
        let both = |selection: Selection| [selection.nothing(true), selection.nothing(false)];
        assert_eq!(
            both(Selection::default()),
            ["no container is alive", "no container is known to be alive"]
        );
        assert_eq!(both(of_projects(&["a\u{1b}"]))[0], "no container of project 'a\\u{1b}' is alive");
        assert_eq!(both(of_projects(&[""]))[1], "no container without a project is known to be alive");
        assert_eq!(
            both(of_projects(&["a", "b"])),
            [
                "no live container matches the filters",
                "no container that is known to be alive matches the filters"
            ]
        );
        assert_eq!(both(named(&["a\n"]))[0], "no live container matches 'a\\n'");
        let filters = FilterArgs { filters: texts(&["name=x"]), ..FilterArgs::default() };
        let selection = Selection::new(&texts(&["web"]), &filters).unwrap();
        assert_eq!(
            selection.nothing_named("web", false),
            "no container that is known to be alive matches 'web' and the filters"
        );
    }

    #[test]
    fn an_invalid_part_is_wrong_usage() {
        for (name, filters) in [
            ("[z-a]", FilterArgs::default()),
            ("web", FilterArgs { filters: texts(&["colour=red"]), ..FilterArgs::default() }),
            ("web", FilterArgs { labels: texts(&["=x"]), ..FilterArgs::default() }),
            ("web", FilterArgs { projects: texts(&["[z-a]"]), ..FilterArgs::default() }),
        ] {
            let error = Selection::new(&texts(&[name]), &filters).unwrap_err();
            assert_eq!(error.downcast::<clap::Error>().unwrap().exit_code(), 2);
        }
    }
}
