//! What `top` shows: plain data, made from a moment of the fleet and from what the user chose.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use whalewatcher_core::fleet::FleetPortfolio;
use whalewatcher_core::history::{History, PastLife};
use whalewatcher_core::{Container, ContainerId, CrashLoop, EngineKey, Life};

use crate::args::CrashLoops;
use crate::selection::Selection;
use crate::starts::started_at;

/// The most past lives that are shown of a container.
const LIVES: usize = 20;

/// When lives began.
pub(super) type Starts = HashMap<Life, SystemTime>;

/// What is known at a moment.
#[derive(Clone, Default)]
pub(super) struct Moment {
    pub(super) alive: FleetPortfolio,
    /// The crash loops that live containers are in.
    pub(super) loops: BTreeMap<(EngineKey, ContainerId), CrashLoop>,
    /// When containers were started whose engine does not report it.
    pub(super) starts: Starts,
    /// A line about the journal.
    pub(super) own_note: Option<String>,
    /// Lines about engines that were found and are not watched.
    pub(super) findings: Vec<String>,
    /// Of each engine that is not known completely, what is missing.
    pub(super) missing: BTreeMap<EngineKey, String>,
    /// The past lives of the container whose details are shown, the newest first.
    pub(super) lives: Vec<PastLife>,
}

impl Moment {
    /// Returns the time by an engine's clock if that is known, else `now`.
    pub(super) fn engine_time(&self, key: &EngineKey, now: SystemTime) -> SystemTime {
        let member = self.alive.member(key);
        member.and_then(|member| member.watcher().status().clock).map_or(now, |clock| clock.now())
    }

    /// Takes what a history knows.
    pub(super) fn take_history(&mut self, history: &History, details: Option<&Place>) {
        self.loops.clear();
        if history.crash_loops().next().is_some() {
            for member in self.alive.members() {
                let found = member.portfolio().containers().filter_map(|container| {
                    let found = history.crash_loop(member.key(), container)?.clone();
                    Some(((member.key().clone(), container.id().clone()), found))
                });
                self.loops.extend(found);
            }
        }
        let of_details = |life: &&PastLife| {
            details.is_some_and(|place| {
                let container = life.container();
                *life.key() == place.key
                    && (*container.id() == place.id || name_with_pod(container) == place.name)
            })
        };
        self.lives = history.lives().rev().filter(of_details).take(LIVES).cloned().collect();
    }

    /// Finds out when containers were started whose engine does not report it, except for lives of which that is known.
    pub(super) fn take_starts(&mut self, known: &mut Starts) {
        let mut starts = Starts::new();
        for (member, container) in self.alive.containers().filter(|(_, one)| one.started_at().is_none()) {
            let life = container.life();
            let started = known.get(&life).copied().or_else(|| started_at(&**member.watcher(), container));
            starts.extend(started.map(|started| (life, started)));
        }
        *known = starts;
        self.starts.clone_from(known);
    }

    /// Returns when a container was started, if that is known.
    pub(super) fn started_at(&self, container: &Container) -> Option<SystemTime> {
        container.started_at().or_else(|| self.starts.get(&container.life()).copied())
    }

    fn crash_loop(&self, key: &EngineKey, container: &Container) -> Option<&CrashLoop> {
        self.loops.get(&(key.clone(), container.id().clone()))
    }
}

/// A container: its engine, its ID and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: EngineKey,
    pub(super) id: ContainerId,
    /// With its pod: what stays when it is started again under another ID.
    pub(super) name: String,
}

/// Returns a name that is the container's own, in a pod too.
fn name_with_pod(container: &Container) -> String {
    match container.pod() {
        Some(pod) => format!("{pod}/{}", container.name()),
        None => container.name().to_owned(),
    }
}

/// How containers of a project are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Name,
    /// The newest first.
    Age,
    /// Crash loops first, then unhealthy and paused ones.
    State,
    Image,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Name => Self::Age,
            Self::Age => Self::State,
            Self::State => Self::Image,
            Self::Image => Self::Name,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Age => "age",
            Self::State => "state",
            Self::Image => "image",
        }
    }
}

/// What covers the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Cover {
    #[default]
    None,
    Help,
    Details(Place),
}

/// What the user chose.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) selection: Selection,
    /// What is marked as a crash loop.
    pub(super) loops: CrashLoops,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) sort: Sort,
    pub(super) cover: Cover,
    /// What the user went to; while that is not alive, its neighbour is selected. `None` for whatever is first.
    pub(super) wanted: Option<Place>,
    pub(super) selected: Option<Place>,
    /// The place of what is selected in the list.
    pub(super) at: usize,
    /// The first row that is shown of the list, or of what covers it.
    pub(super) offset: usize,
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Escape,
    Erase,
    Character(char),
}

/// A row of the list.
pub(super) enum Row<'a> {
    Engine {
        key: &'a EngineKey,
        version: Option<String>,
        state: String,
        is_live: bool,
    },
    Project(&'a str),
    Container {
        place: Place,
        container: &'a Arc<Container>,
        started: Option<SystemTime>,
        crash_loop: Option<&'a CrashLoop>,
    },
    Note(String),
}

/// Returns the rows of the list: by engine, then by project, those without one last.
pub(super) fn rows<'a>(moment: &'a Moment, choice: &Choice) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for member in moment.alive.members().filter(|member| choice.selection.concerns(&**member.watcher())) {
        let (key, missing) = (member.key(), moment.missing.get(member.key()));
        let mut projects = BTreeMap::<(bool, &str), Vec<&Arc<Container>>>::new();
        let mut count = 0;
        for container in member.portfolio().containers() {
            let is_shown = choice.selection.matches(&**member.watcher(), container);
            if is_shown && matches_filter(&choice.filter, container) {
                let project = container.project();
                projects.entry((project.is_empty(), project)).or_default().push(container);
                count += 1;
            }
        }
        let known = if missing.is_some() || !member.is_live() { "known to be " } else { "" };
        let all = member.portfolio().total();
        let counted = if count == all {
            format!("{all} {known}alive")
        } else {
            format!("{count} of {all} {known}alive")
        };
        let state = match member.error() {
            Some(error) => format!("disconnected: {error}; as last known"),
            None if !member.is_live() => "connecting".to_owned(),
            None => missing.cloned().unwrap_or_default(),
        };
        let state = if state.is_empty() { counted } else { format!("{counted}, {state}") };
        let version = member.watcher().identity().map(|identity| identity.version.clone());
        rows.push(Row::Engine { key, version, state, is_live: member.is_live() && missing.is_none() });
        for ((_, project), mut containers) in projects {
            rows.push(Row::Project(project));
            sort(&mut containers, choice.sort, moment, |container| {
                moment.crash_loop(key, container).is_some()
            });
            rows.extend(containers.into_iter().map(|container| Row::Container {
                place: Place { key: key.clone(), id: container.id().clone(), name: name_with_pod(container) },
                container,
                started: moment.started_at(container),
                crash_loop: moment.crash_loop(key, container),
            }));
        }
    }
    let notes = moment.findings.iter().chain(&moment.own_note);
    rows.extend(notes.cloned().map(Row::Note));
    rows
}

fn sort(
    containers: &mut [&Arc<Container>],
    by: Sort,
    moment: &Moment,
    is_looping: impl Fn(&Container) -> bool,
) {
    // They are sorted by name already.
    match by {
        Sort::Name => {}
        Sort::Age => containers.sort_by_key(|container| Reverse(moment.started_at(container))),
        Sort::State => containers.sort_by_key(|container| {
            let is_unhealthy = container.health().is_some_and(|health| health.as_str() == "unhealthy");
            Reverse((is_looping(container), is_unhealthy, container.paused()))
        }),
        Sort::Image => {
            containers.sort_by(|one, other| {
                let name = |container: &Container| container.image().map(|image| image.name().to_owned());
                name(one).cmp(&name(other))
            });
        }
    }
}

/// Returns whether name, project, pod, image or ID contain a text, in whatever case.
fn matches_filter(filter: &str, container: &Container) -> bool {
    let filter = filter.to_lowercase();
    let contains = |text: &str| text.to_lowercase().contains(&filter);
    filter.is_empty()
        || contains(container.name())
        || contains(container.project())
        || container.id().starts_with(&filter)
        || container.pod().is_some_and(|pod| contains(&pod.to_string()))
        || container.image().is_some_and(|image| contains(image.name()))
}

impl Choice {
    /// Handles a key; `page` is how many rows are visible. Returns whether the user quits.
    pub(super) fn handle(&mut self, input: Input, moment: &Moment, page: usize) -> bool {
        if self.is_typing {
            match input {
                Input::Character(c) => self.filter.push(c),
                Input::Erase => drop(self.filter.pop()),
                Input::Escape => (self.is_typing, self.filter) = (false, String::new()),
                Input::Enter => self.is_typing = false,
                _ => self.move_by(input, moment, page),
            }
            return false;
        }
        match (input, &self.cover) {
            (Input::Character('q'), Cover::None) => return true,
            (Input::Character('q' | '?') | Input::Escape | Input::Enter, Cover::Help | Cover::Details(_)) => {
                (self.cover, self.offset) = (Cover::None, 0);
            }
            (Input::Character('?'), _) => (self.cover, self.offset) = (Cover::Help, 0),
            (Input::Character('/'), Cover::None) => self.is_typing = true,
            (Input::Character('s'), Cover::None) => self.sort = self.sort.next(),
            (Input::Escape, Cover::None) => self.filter.clear(),
            (Input::Enter, Cover::None) => {
                self.settle(moment);
                if let Some(place) = self.selected.clone() {
                    (self.cover, self.offset) = (Cover::Details(place), 0);
                }
            }
            (Input::Character('k'), _) => self.move_by(Input::Up, moment, page),
            (Input::Character('j'), _) => self.move_by(Input::Down, moment, page),
            (Input::Character('g'), _) => self.move_by(Input::First, moment, page),
            (Input::Character('G'), _) => self.move_by(Input::Last, moment, page),
            (other, _) => self.move_by(other, moment, page),
        }
        false
    }

    fn move_by(&mut self, input: Input, moment: &Moment, page: usize) {
        let step = page.max(1);
        let moved = |at: usize, last: usize| match input {
            Input::Up => at.saturating_sub(1),
            Input::Down => (at + 1).min(last),
            Input::PageUp => at.saturating_sub(step),
            Input::PageDown => (at + step).min(last),
            Input::First => 0,
            Input::Last => last,
            _ => at,
        };
        if self.cover != Cover::None {
            self.offset = moved(self.offset, usize::MAX / 2);
            return;
        }
        let places = places(moment, self);
        let Some(last) = places.len().checked_sub(1) else { return };
        self.at = moved(self.place_in(&places), last);
        self.selected = Some(places[self.at].clone());
        self.wanted = self.selected.clone().filter(|_| self.at > 0);
    }

    /// Selects what the user went to, or what took its place in the list.
    pub(super) fn settle(&mut self, moment: &Moment) {
        let places = places(moment, self);
        self.at = self.place_in(&places);
        self.selected = places.get(self.at).cloned();
    }

    fn place_in(&self, places: &[Place]) -> usize {
        let Some(wanted) = &self.wanted else { return 0 };
        let is_it = |place: &Place| (&place.key, &place.id) == (&wanted.key, &wanted.id);
        // A restart under another ID is the same for the user.
        let is_same = |place: &Place| (&place.key, &place.name) == (&wanted.key, &wanted.name);
        let found = places.iter().position(is_it).or_else(|| places.iter().position(is_same));
        found.unwrap_or(self.at.min(places.len().saturating_sub(1)))
    }
}

fn places(moment: &Moment, choice: &Choice) -> Vec<Place> {
    let all = rows(moment, choice).into_iter();
    let of_row = |row| match row {
        Row::Container { place, .. } => Some(place),
        _ => None,
    };
    all.filter_map(of_row).collect()
}
