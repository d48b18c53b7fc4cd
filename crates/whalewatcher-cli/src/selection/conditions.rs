//! The conditions of `--filter` and `--label`, in docker's spelling and with its meaning.

use regex_lite::Regex;
use whalewatcher_core::{Container, Health};

use super::pattern::Pattern;

/// The keys of `--filter`, in the order in which they are listed.
const KEYS: &str = "ancestor, health, id, image, label, name, network, status";

/// The fewest characters that stand for an ID.
pub(crate) const LEAST_ID: usize = 4;

/// Conditions by key. One of each key has to hold, but all of the labels: docker's engine combines them so.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    names: Vec<Regex>,
    ids: Vec<Regex>,
    /// The value is `None` where any is accepted.
    labels: Vec<(String, Option<String>)>,
    /// Whether it has to be paused.
    paused: Vec<bool>,
    /// `None` stands for containers without a healthcheck.
    health: Vec<Option<Health>>,
    /// Image names with tag, or IDs.
    ancestors: Vec<String>,
    images: Vec<Pattern>,
    networks: Vec<String>,
}

impl Conditions {
    /// Adds a condition such as `name=web`.
    ///
    /// # Errors
    ///
    /// With the reason.
    pub(super) fn add(&mut self, filter: &str) -> Result<(), String> {
        let (key, value) = filter.split_once('=').ok_or("expected KEY=VALUE, such as name=web")?;
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        match key.as_str() {
            "name" => self.names.push(regex(value)?),
            "id" => self.ids.push(regex(value)?),
            "label" => self.add_label(value)?,
            "status" => self.paused.push(match value {
                "running" => false,
                "paused" => true,
                "created" | "restarting" | "removing" | "exited" | "dead" => {
                    return Err("only live containers are shown: they are 'running' or 'paused'".to_owned());
                }
                _ => return Err("a live container is 'running' or 'paused'".to_owned()),
            }),
            "health" => self.health.push(match value {
                "none" => None,
                _ => Some(Health::of(value).ok_or("expected 'starting', 'healthy', 'unhealthy' or 'none'")?),
            }),
            "ancestor" => self.ancestors.push(tagged(value)),
            "image" => self.images.push(Pattern::new(familiar(value))?),
            "network" => self.networks.push(value.to_owned()),
            "volume" => return Err("engines report no volumes with their containers".to_owned()),
            _ => return Err(format!("unknown key; the keys are {KEYS}")),
        }
        Ok(())
    }

    /// Adds a condition such as `K` or `K=V`.
    ///
    /// # Errors
    ///
    /// With the reason.
    pub(super) fn add_label(&mut self, label: &str) -> Result<(), String> {
        let (key, value) = label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
        if key.is_empty() {
            return Err("expected a label KEY or KEY=VALUE".to_owned());
        }
        self.labels.push((key.to_owned(), value.map(str::to_owned)));
        Ok(())
    }

    pub(super) fn are_none(&self) -> bool {
        self.names.is_empty()
            && self.ids.is_empty()
            && self.labels.is_empty()
            && self.paused.is_empty()
            && self.health.is_empty()
            && self.ancestors.is_empty()
            && self.images.is_empty()
            && self.networks.is_empty()
    }

    pub(super) fn match_container(&self, container: &Container) -> bool {
        let image = || container.image();
        let networks = container.networks();
        // docker's names begin with a slash, which expressions such as '^/web$' may contain.
        let matches_name = |name: &Regex| {
            name.is_match(container.name()) || name.is_match(&format!("/{}", container.name()))
        };
        any(&self.names, matches_name)
            && any(&self.ids, |id| id.is_match(container.id().as_str()))
            && self.labels.iter().all(|(key, wanted)| {
                let value = container.labels().get(key);
                value.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| value == wanted))
            })
            && any(&self.paused, |paused| container.paused() == *paused)
            && any(&self.health, |health| container.health() == *health)
            && any(&self.ancestors, |wanted| {
                image().is_some_and(|image| {
                    tagged(image.name()) == *wanted || image.id().is_some_and(|id| is_id(wanted, id))
                })
            })
            && any(&self.images, |wanted| {
                image().is_some_and(|image| {
                    let name = familiar(image.name());
                    wanted.matches(name) || wanted.matches(without_tag(name))
                })
            })
            && any(&self.networks, |wanted| networks.iter().any(|network| network.name() == wanted))
    }
}

/// Returns whether there is no condition, or one holds.
fn any<T>(conditions: &[T], holds: impl Fn(&T) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}

fn regex(value: &str) -> Result<Regex, String> {
    Regex::new(value).map_err(|error| format!("not a regular expression: {error}"))
}

/// Returns whether this is an image's ID or its first characters; `wanted` may have got a tag.
fn is_id(wanted: &str, id: &str) -> bool {
    fn hash(id: &str) -> &str {
        id.strip_prefix("sha256:").unwrap_or(id)
    }
    let wanted = hash(wanted.strip_suffix(":latest").unwrap_or(wanted));
    wanted.len() >= LEAST_ID && hash(id).starts_with(wanted)
}

/// Returns an image's name without docker's own registry.
pub(crate) fn familiar(name: &str) -> &str {
    let registries = ["index.docker.io/", "docker.io/"];
    let name = registries.iter().find_map(|registry| name.strip_prefix(registry)).unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Returns where the tag begins, or the digest.
fn tag_at(name: &str) -> Option<usize> {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    name[last..].find([':', '@']).map(|at| last + at)
}

/// Returns an image's name without tag and digest.
pub(crate) fn without_tag(name: &str) -> &str {
    tag_at(name).map_or(name, |at| &name[..at])
}

/// Returns an image's name with its tag, which is `latest` by default.
fn tagged(name: &str) -> String {
    let name = familiar(name);
    if tag_at(name).is_some() { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::{Image, Labels, Network};

    use super::*;

    fn web() -> Container {
        Container::new("0123456789abcdef", "shop-web-1", 7)
            .with_labels(Labels::from_iter([("env", "prod"), ("tier", "front=end"), ("empty", "")]))
            .with_health(Health::Healthy)
            .with_image(Image::new("docker.io/library/nginx:1.27").with_id("sha256:cafe0123"))
            .with_networks([Network::new("shop_default")])
    }

    fn holds(container: &Container, filters: &[&str]) -> bool {
        let mut conditions = Conditions::default();
        assert!(conditions.are_none());
        for filter in filters {
            conditions.add(filter).unwrap();
            assert!(!conditions.are_none());
        }
        conditions.match_container(container)
    }

    #[test]
    fn each_filter_means_what_it_does_for_docker() {
        for (filter, expected) in [
            ("name=web", true),
            ("name=^/shop-web-1$", true),
            ("name=^web", false),
            ("Name = WEB", false),
            ("id=0123", true),
            ("id=^123", false),
            ("label=env", true),
            ("label=env=prod", true),
            ("label=env=", false),
            ("label=empty=", true),
            ("label=tier=front=end", true),
            ("label=no", false),
            ("status=running", true),
            ("status=paused", false),
            ("health=healthy", true),
            ("health=none", false),
            ("ancestor=nginx:1.27", true),
            ("ancestor=docker.io/library/nginx:1.27", true),
            ("ancestor=nginx", false),
            ("ancestor=sha256:cafe0123", true),
            ("ancestor=cafe", true),
            ("ancestor=caf", false),
            ("image=nginx", true),
            ("image=docker.io/nginx", true),
            ("image=ngin?:1.*", true),
            ("image=gin", false),
            ("network=shop_default", true),
            ("network=shop", false),
        ] {
            assert_eq!(holds(&web(), &[filter]), expected, "{filter}");
        }
        let lone = Container::new("1", "db", 1).with_image(Image::new("host:5000/nginx"));
        assert!(holds(&lone, &["health=none"]) && !holds(&lone, &["network=shop_default"]));
        assert!(holds(&lone, &["ancestor=host:5000/nginx:latest"]) && !holds(&lone, &["image=nginx"]));
        assert!(holds(&lone.with_paused(true), &["status=paused"]));
    }

    #[test]
    fn one_of_each_key_and_all_labels_have_to_hold() {
        assert!(holds(&web(), &["name=db", "name=web", "health=healthy"]));
        assert!(!holds(&web(), &["name=web", "health=unhealthy"]));
        assert!(holds(&web(), &["label=env", "label=tier"]));
        assert!(!holds(&web(), &["label=env", "label=no"]));
    }

    #[test]
    fn what_cannot_be_filtered_is_an_error_with_the_alternatives() {
        let error = |filter: &str| Conditions::default().add(filter).unwrap_err();
        assert!(error("web").contains("KEY=VALUE"));
        assert!(error("colour=red").contains(KEYS));
        assert!(error("volume=data").contains("no volumes"));
        assert!(error("status=exited").contains("only live containers"));
        assert!(error("status=up").contains("'paused'"));
        assert!(error("health=ill").contains("'unhealthy'"));
        assert!(error("name=(").contains("not a regular expression"));
        assert!(error("label=").contains("KEY=VALUE") && error("label==x").contains("KEY=VALUE"));
        assert!(error("image=[z-a]").contains("not a valid pattern"));
    }
}
