//! The filter of `--project`.

use whalewatcher_core::{Container, Event, EventKind};

/// Matches all containers, or those of one compose project; with the project `""` those without one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    project: Option<String>,
}

impl Filter {
    /// Returns a filter for a project; without one it matches all containers.
    pub(crate) fn new(project: Option<String>) -> Self {
        Self { project }
    }

    /// Returns the project, if not all containers match.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Returns whether a container is shown.
    pub(crate) fn matches(&self, container: &Container) -> bool {
        self.project().is_none_or(|project| container.project() == project)
    }

    /// Returns whether an event is shown. Events without a container are, and so are those of containers that join or leave the
    /// project.
    pub(crate) fn shows(&self, event: &Event) -> bool {
        event.container().is_none_or(|container| self.matches(container))
            || matches!(&event.kind, EventKind::Updated { was, .. } | EventKind::Moved { was, .. } if self.matches(was))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use whalewatcher_core::{COMPOSE_PROJECT_LABEL, Labels};

    use super::*;

    fn container(id: &str, project: &str) -> Container {
        let labels = (!project.is_empty()).then_some((COMPOSE_PROJECT_LABEL, project));
        Container::new(id, id, 1).with_labels(Labels::from_iter(labels))
    }

    fn event(kind: EventKind) -> Event {
        Event::new(SystemTime::now(), kind)
    }

    #[test]
    fn no_project_matches_all_and_the_empty_project_those_without_one() {
        let (web, lone) = (container("web", "shop"), container("lone", ""));
        let held = |project: Option<&str>| {
            let filter = Filter::new(project.map(str::to_owned));
            (filter.matches(&web), filter.matches(&lone))
        };
        assert_eq!(held(None), (true, true));
        assert_eq!(held(Some("shop")), (true, false));
        assert_eq!(held(Some("")), (false, true));
    }

    #[test]
    fn a_container_that_leaves_the_project_is_shown_once_more() {
        let shop = Filter::new(Some("shop".into()));
        let updated = |was, now| {
            event(EventKind::Updated {
                container: Arc::new(container("web", now)),
                was: Arc::new(container("web", was)),
            })
        };
        assert!(shop.shows(&updated("shop", "")) && shop.shows(&updated("", "shop")));
        assert!(!shop.shows(&updated("", "cart")));
        assert!(!shop.shows(&event(EventKind::Started(Arc::new(container("new", ""))))));
        assert!(shop.shows(&event(EventKind::Lagged { missed: 1 })));
    }
}
