//! The lines of `docker events --format json`, for programs that read these.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use whalewatcher_core::{Container, Event, EventKind, Health, PRIVILEGED_LABEL};
use whalewatcher_discover::PREFIX_LABEL;

use super::json::write_line;

/// An event as dockerd sends it. `status`, `id` and `from` are those of dockerd before version 29, which many
/// programs read.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    status: String,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor<'a>,
    scope: &'a str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<&'a str, String>,
}

#[cfg(feature = "serve")]
impl Line<'_> {
    pub(crate) fn id(&self) -> &str {
        self.id
    }

    pub(crate) fn action(&self) -> &str {
        &self.action
    }

    pub(crate) fn attributes(&self) -> &BTreeMap<&str, String> {
        &self.actor.attributes
    }
}

/// What dockerd adds to the attributes of a container.
type Details = Vec<(&'static str, String)>;

/// Writes an event as the lines that dockerd would send.
pub(crate) fn write_event(writer: &mut impl Write, event: &Event) -> io::Result<()> {
    lines(event).iter().try_for_each(|line| write_line(writer, line))
}

/// Returns the lines that dockerd would send: none for changes that dockerd reports in another way or not at
/// all, and for events about the watch.
pub(crate) fn lines(event: &Event) -> Vec<Line<'_>> {
    let Some(container) = event.container() else { return Vec::new() };
    let image = container.image().map(|image| image.name());
    let line = |(action, details): (String, Details)| {
        let labels = labels(container).map(|(key, value)| (key, value.to_owned()));
        let mut attributes: BTreeMap<_, _> = labels.collect();
        attributes.extend(image.map(|image| ("image", image.to_owned())));
        attributes.insert("name", container.name().to_owned());
        attributes.extend(details);
        let nanoseconds = nanoseconds(event.time);
        let id = container.id().as_str();
        Line {
            status: action.clone(),
            id,
            from: image,
            kind: "container",
            action,
            actor: Actor { id, attributes },
            scope: "local",
            time: nanoseconds.div_euclid(1_000_000_000),
            time_nano: nanoseconds,
        }
    };
    actions(event).into_iter().map(line).collect()
}

/// Returns a container's labels without those that whalewatcher adds.
pub(crate) fn labels(container: &Container) -> impl Iterator<Item = (&str, &str)> {
    container.labels().iter().filter(|(key, _)| ![PRIVILEGED_LABEL, PREFIX_LABEL].contains(key))
}

/// Returns dockerd's actions for an event.
fn actions(event: &Event) -> Vec<(String, Details)> {
    let action = |name: &str| vec![(name.to_owned(), Details::new())];
    match &event.kind {
        EventKind::Started(_) => action("start"),
        EventKind::Exited { container, code } => {
            let lived = container.started_at().and_then(|then| event.time.duration_since(then).ok());
            let lived = lived.map(|lived| ("execDuration", lived.as_secs().to_string()));
            let code = code.map(|code| ("exitCode", code.to_string()));
            vec![("die".to_owned(), lived.into_iter().chain(code).collect())]
        }
        EventKind::Paused(_) => action("pause"),
        EventKind::Unpaused(_) => action("unpause"),
        EventKind::Updated { container, was } => updates(was, container),
        _ => Vec::new(),
    }
}

fn updates(was: &Container, now: &Container) -> Vec<(String, Details)> {
    let renamed = was.name() != now.name();
    // dockerd's API has names with a slash.
    let renamed = renamed.then(|| ("rename".to_owned(), vec![("oldName", format!("/{}", was.name()))]));
    let killed = (!was.oom_killed() && now.oom_killed()).then(|| ("oom".to_owned(), Details::new()));
    let health = now.health().filter(|health| was.health() != Some(*health) && *health != Health::Starting);
    let health = health.map(|health| (format!("health_status: {}", health.as_str()), Details::new()));
    renamed.into_iter().chain(killed).chain(health).collect()
}

fn nanoseconds(time: SystemTime) -> i64 {
    let signed = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => signed(since),
        Err(before) => -signed(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use whalewatcher_core::{COMPOSE_PROJECT_LABEL, Image, Labels};

    use super::*;

    fn web() -> Container {
        let labels = Labels::from_iter([(COMPOSE_PROJECT_LABEL, "shop"), ("name", "overridden")]);
        Container::new("c0ffee", "web", 7).with_labels(labels).with_image(Image::new("nginx:1.27"))
    }

    fn lines(kind: EventKind) -> Vec<Value> {
        let mut text = Vec::new();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_769_860_800, 5);
        write_event(&mut text, &Event::new(time, kind)).unwrap();
        String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn an_exit_is_a_line_of_dockerd() {
        let started_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_770);
        let container = Arc::new(web().with_started_at(started_at));
        assert_eq!(
            lines(EventKind::Exited { container, code: Some(137) }),
            [json!({
                "status": "die", "id": "c0ffee", "from": "nginx:1.27", "Type": "container", "Action": "die",
                "Actor": {"ID": "c0ffee", "Attributes": {
                    "com.docker.compose.project": "shop", "execDuration": "30", "exitCode": "137",
                    "image": "nginx:1.27", "name": "web",
                }},
                "scope": "local", "time": 1_769_860_800_i64, "timeNano": 1_769_860_800_000_000_005_i64,
            })]
        );
    }

    #[test]
    fn changes_are_dockerds_actions() {
        let actions = |kind| {
            lines(kind).iter().map(|line| line["Action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let updated = |was, now| EventKind::Updated { was: Arc::new(was), container: Arc::new(now) };
        assert_eq!(actions(EventKind::Started(Arc::new(web()))), ["start"]);
        assert_eq!(actions(EventKind::Paused(Arc::new(web()))), ["pause"]);
        assert_eq!(actions(EventKind::Unpaused(Arc::new(web()))), ["unpause"]);
        let now = web().with_name("shop").with_oom_killed(true).with_health(Health::Unhealthy);
        assert_eq!(actions(updated(web(), now)), ["rename", "oom", "health_status: unhealthy"]);
        assert_eq!(actions(updated(web(), web().with_labels(Labels::default()))), [""; 0]);
        assert_eq!(actions(EventKind::Synced { containers: 1, unresolved: 0 }), [""; 0]);
        let renamed = lines(updated(web(), web().with_name("shop")));
        assert_eq!(renamed[0]["Actor"]["Attributes"]["oldName"], "/web");
    }
}
