//! The containers that are watched: services of compose projects, with the labels that `docker compose` gives them.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use whalewatcher_core::{Container, Labels};

/// How many containers a project has: two replicas each of five services.
const PROJECT: usize = 10;
const SERVICES: [&str; 5] = ["api", "cache", "db", "web", "worker"];

/// When the population's containers were started: in 2026.
#[must_use]
pub fn beginning() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_000_000)
}

/// 64 hexadecimal digits, in no order.
#[must_use]
pub fn id(number: usize) -> String {
    digits(0x5eed, number)
}

fn digits(seed: u64, number: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..64).map(|_| random.digit(16)).collect()
}

fn project(number: usize) -> String {
    format!("project-{}", number / PROJECT)
}

fn service(number: usize) -> &'static str {
    SERVICES[number % SERVICES.len()]
}

fn replica(number: usize) -> usize {
    number % PROJECT / SERVICES.len() + 1
}

/// The name of the container of this number.
#[must_use]
pub fn name(number: usize) -> String {
    format!("{}-{}-{}", project(number), service(number), replica(number))
}

/// The labels of the container of this number: eleven, of about 650 bytes.
#[must_use]
pub fn labels(number: usize) -> [(&'static str, String); 11] {
    let (project, service) = (project(number), service(number));
    let folder = format!("/srv/deployments/{project}");
    [
        (
            "com.docker.compose.config-hash",
            digits(0xc0f1, number / PROJECT * PROJECT + number % SERVICES.len()),
        ),
        ("com.docker.compose.container-number", replica(number).to_string()),
        ("com.docker.compose.depends_on", "db:service_started:false,cache:service_started:false".to_owned()),
        ("com.docker.compose.image", format!("sha256:{}", digits(0x1111, number % SERVICES.len()))),
        ("com.docker.compose.oneoff", "False".to_owned()),
        ("com.docker.compose.project.config_files", format!("{folder}/docker-compose.yml")),
        ("com.docker.compose.project.working_dir", folder),
        ("com.docker.compose.project", project),
        ("com.docker.compose.service", service.to_owned()),
        ("com.docker.compose.version", "2.40.3".to_owned()),
        ("org.opencontainers.image.source", format!("https://git.example.org/shop/{service}")),
    ]
}

/// The image of the container of this number.
#[must_use]
pub fn image(number: usize) -> String {
    format!("registry.example.org/shop/{}:1.42.0", service(number))
}

/// The network of the project of the container of this number, and the container's address there.
#[must_use]
pub fn network(number: usize) -> (String, Ipv4Addr) {
    let host = u32::try_from(number).unwrap_or_default() & 0x00ff_ffff;
    (format!("{}_default", project(number)), Ipv4Addr::from(0x0a00_0000 | host))
}

/// The port that the container of this number exposes, and where it is published.
#[must_use]
pub fn port(number: usize) -> (u16, u16) {
    (8080, 20_000 + (number % 40_000) as u16)
}

/// The PID of the container of this number in its first life.
#[must_use]
pub fn pid(number: usize) -> u32 {
    u32::try_from(number + 1000).unwrap_or(u32::MAX)
}

/// The container of this number, in its first life.
#[must_use]
pub fn container(number: usize) -> Container {
    Container::new(id(number), name(number), pid(number))
        .with_labels(Labels::from_iter(labels(number)))
        .with_started_at(beginning())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_and_names_are_given_once_and_each_project_has_its_ten() {
        let all: Vec<_> = (0..1000).map(container).collect();
        let distinct = |of: fn(&Container) -> &str| all.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|container| container.id()), 1000);
        assert_eq!(distinct(Container::name), 1000);
        assert_eq!(distinct(Container::project), 100);
    }

    #[test]
    fn labels_are_as_many_and_as_long_as_they_are_said_to_be() {
        let text: usize = labels(12_345).iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!((600..700).contains(&text), "{text} bytes");
        assert_eq!(container(12_345).labels().len(), 11);
    }
}
