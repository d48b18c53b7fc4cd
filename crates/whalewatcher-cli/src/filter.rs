//! Which containers are shown: all, or those of one project.

use whalewatcher_core::{Container, Event, EventKind, Portfolio};

/// All containers, or those of one compose project; of the project `""`, those without one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    project: Option<String>,
}

impl Scope {
    /// All, or one project's.
    pub(crate) fn new(project: Option<String>) -> Self {
        Self { project }
    }

    /// Whose containers are shown, if not all.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Whether this one is shown.
    pub(crate) fn holds(&self, container: &Container) -> bool {
        self.project().is_none_or(|project| container.project() == project)
    }

    /// Whether this event is shown, given the picture before it: also that of a container which joins or leaves
    /// the project, and all events that are about no container.
    pub(crate) fn shows(&self, event: &Event, before: &Portfolio) -> bool {
        event.container().is_none_or(|container| {
            self.holds(container)
                || matches!(event.kind, EventKind::Updated(_))
                    && before.by_id(container.id()).is_some_and(|before| self.holds(before))
        })
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

    fn happening(kind: EventKind) -> Event {
        Event::new(SystemTime::now(), kind)
    }

    #[test]
    fn without_a_project_all_are_shown_and_the_empty_project_is_that_of_those_without_one() {
        let (web, lone) = (container("web", "shop"), container("lone", ""));
        let held = |project: Option<&str>| {
            let scope = Scope::new(project.map(str::to_owned));
            (scope.holds(&web), scope.holds(&lone))
        };
        assert_eq!(held(None), (true, true));
        assert_eq!(held(Some("shop")), (true, false));
        assert_eq!(held(Some("")), (false, true));
    }

    #[test]
    fn who_leaves_the_project_is_reported_once_more_and_what_is_about_no_container_always() {
        let shop = Scope::new(Some("shop".into()));
        let before = Portfolio::from_iter([container("web", "shop"), container("lone", "")]);
        let leaves = EventKind::Updated(Arc::new(container("web", "")));
        assert!(shop.shows(&happening(leaves), &before));
        assert!(!shop.shows(&happening(EventKind::Updated(Arc::new(container("lone", "")))), &before));
        assert!(!shop.shows(&happening(EventKind::Started(Arc::new(container("new", "")))), &before));
        assert!(shop.shows(&happening(EventKind::Lagged { missed: 1 }), &before));
    }
}
