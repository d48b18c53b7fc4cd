//! Containers grouped by Kubernetes pod, by their labels alone.
//!
//! This works with any engine whose containers have these labels. The groups are computed when they are asked for.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::time::SystemTime;

use super::Portfolio;
use crate::model::{Container, PodIdentity};

impl Portfolio {
    /// Groups the containers that belong to pods by pod.
    ///
    /// Each call visits all containers: keep the result as long as the snapshot is used.
    ///
    /// ```
    /// use whalewatcher_core::{Container, Labels, POD_NAME_LABEL, POD_NAMESPACE_LABEL, Portfolio};
    ///
    /// let labels = Labels::from_iter([(POD_NAMESPACE_LABEL, "shop"), (POD_NAME_LABEL, "web-0")]);
    /// let portfolio = Portfolio::from_iter([Container::new("c0ffee", "nginx", 4711).with_labels(labels)]);
    /// let pods = portfolio.pods();
    /// let web = pods.pod("shop/web-0").expect("it is alive");
    /// assert_eq!(web.containers().next().map(|container| container.pid()), Some(4711));
    /// ```
    #[must_use]
    pub fn pods(&self) -> Pods {
        self.containers().cloned().collect()
    }
}

/// The live containers of one pod: its sandbox and its other containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    namespace: String,
    name: String,
    uid: String,
    sandboxes: Vec<Arc<Container>>,
    containers: Vec<Arc<Container>>,
}

impl Pod {
    /// Returns the pod's identity.
    #[must_use]
    pub fn identity(&self) -> PodIdentity<'_> {
        PodIdentity { namespace: &self.namespace, name: &self.name, uid: &self.uid }
    }

    /// Returns its namespace, `""` if its containers' labels contain none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its UID, `""` if its containers' labels contain none.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Returns its sandbox; if several are alive because one replaces the other, the newest. `None` if the
    /// sandbox is not alive, or if the engine does not label it.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Arc<Container>> {
        self.sandboxes.first()
    }

    /// Returns all its sandboxes, the newest first: nearly always one.
    pub fn sandboxes(&self) -> impl ExactSizeIterator<Item = &Arc<Container>> {
        self.sandboxes.iter()
    }

    /// Returns its containers without the sandbox, sorted by name and ID.
    pub fn containers(&self) -> impl ExactSizeIterator<Item = &Arc<Container>> {
        self.containers.iter()
    }

    /// Returns when its newest sandbox began or, without a sandbox, its oldest container. `None` if the
    /// engine reports no start times.
    #[must_use]
    pub fn started_at(&self) -> Option<SystemTime> {
        let sandbox = self.sandbox().and_then(|sandbox| sandbox.started_at());
        sandbox.or_else(|| self.containers.iter().filter_map(|container| container.started_at()).min())
    }

    fn new(identity: PodIdentity<'_>) -> Self {
        let PodIdentity { namespace, name, uid } = identity;
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            sandboxes: Vec::new(),
            containers: Vec::new(),
        }
    }

    /// Sorts into the order in which the accessors return them.
    fn sort(&mut self) {
        self.sandboxes.sort_by(|one, other| {
            (Reverse(one.started_at()), one.id()).cmp(&(Reverse(other.started_at()), other.id()))
        });
        self.containers.sort_by(|one, other| (one.name(), one.id()).cmp(&(other.name(), other.id())));
    }
}

/// Containers by pod: a snapshot that can be kept for any time.
///
/// Pods are distinguished by namespace, name *and* UID. So a pod that is being replaced and its replacement
/// are two pods here, and neither has containers of the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods(Vec<Pod>);

impl Pods {
    /// Returns the pod `NAMESPACE/NAME`; if several have that name, the one that began last, which is the replacement
    /// (without start times, the one with the highest UID). [`all_by_name`](Self::all_by_name) returns all of them.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<&Pod> {
        self.all_by_name(name).max_by_key(|pod| pod.started_at())
    }

    /// Returns all pods `NAMESPACE/NAME`, sorted by UID: several only while one replaces the other.
    pub fn all_by_name(&self, name: &str) -> impl ExactSizeIterator<Item = &Pod> {
        // A namespace contains no slash.
        let sought = name.split_once('/').unwrap_or(("", name));
        let named = |pod: &Pod| (&*pod.namespace, &*pod.name).cmp(&sought);
        let begin = self.0.partition_point(|pod| named(pod).is_lt());
        let end = self.0.partition_point(|pod| named(pod).is_le());
        self.0[begin..end].iter()
    }

    /// Returns the pod that a container belongs to.
    #[must_use]
    pub fn of(&self, container: &Container) -> Option<&Pod> {
        let sought = container.pod()?;
        let at = self.0.binary_search_by(|pod| pod.identity().cmp(&sought)).ok()?;
        Some(&self.0[at])
    }

    /// Returns all pods, sorted by namespace, name and UID.
    pub fn iter(&self) -> slice::Iter<'_, Pod> {
        self.0.iter()
    }

    /// Returns the number of pods.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no pods.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Pods {
    type Item = &'a Pod;
    type IntoIter = slice::Iter<'a, Pod>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Arc<Container>> for Pods {
    /// Groups containers, also of several engines, by pod. Containers without a pod are skipped.
    fn from_iter<I: IntoIterator<Item = Arc<Container>>>(containers: I) -> Self {
        let all: Vec<_> = containers.into_iter().collect();
        let mut pods = BTreeMap::<PodIdentity<'_>, Pod>::new();
        for container in &all {
            let Some(identity) = container.pod() else { continue };
            let pod = pods.entry(identity).or_insert_with(|| Pod::new(identity));
            let members = if container.is_sandbox() { &mut pod.sandboxes } else { &mut pod.containers };
            members.push(container.clone());
        }
        let mut pods: Vec<_> = pods.into_values().collect();
        pods.iter_mut().for_each(Pod::sort);
        Self(pods)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Labels, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, SANDBOX_LABEL};

    fn labels(namespace: &str, name: &str, uid: &str) -> Vec<(String, String)> {
        [(POD_NAMESPACE_LABEL, namespace), (POD_NAME_LABEL, name), (POD_UID_LABEL, uid)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec()
    }

    fn container(id: &str, name: &str, (namespace, pod, uid): (&str, &str, &str)) -> Container {
        Container::new(id, name, 1).with_labels(Labels::from_iter(labels(namespace, pod, uid)))
    }

    fn sandbox(id: &str, (namespace, pod, uid): (&str, &str, &str), started_at: u64) -> Container {
        let mut labels = labels(namespace, pod, uid);
        labels.push((SANDBOX_LABEL.to_owned(), String::new()));
        Container::new(id, id, 1)
            .with_labels(Labels::from_iter(labels))
            .with_started_at(SystemTime::UNIX_EPOCH + Duration::from_secs(started_at))
    }

    fn ids<'a>(containers: impl Iterator<Item = &'a Arc<Container>>) -> Vec<&'a str> {
        containers.map(|container| container.id().as_str()).collect()
    }

    const WEB: (&str, &str, &str) = ("default", "web", "uid-1");

    #[test]
    fn containers_and_their_sandbox_are_a_pod_and_others_are_in_none() {
        let all = Portfolio::from_iter([
            container("3", "b", WEB),
            container("1", "a", WEB),
            container("2", "b", WEB),
            sandbox("4", WEB, 1),
            container("5", "dns", ("kube-system", "dns", "uid-2")),
            Container::new("6", "lone", 1),
        ]);
        let pods = all.pods();
        assert_eq!(
            pods.iter().map(|pod| pod.identity().to_string()).collect::<Vec<_>>(),
            ["default/web", "kube-system/dns"]
        );
        let web = pods.pod("default/web").unwrap();
        assert_eq!((web.namespace(), web.name(), web.uid()), WEB);
        let identity = all.by_id("1").and_then(|one| one.pod()).unwrap();
        assert_eq!((identity.namespace(), identity.name(), identity.uid()), WEB);
        assert_eq!(ids(web.containers()), ["1", "2", "3"]);
        assert_eq!(web.sandbox().map(|sandbox| sandbox.id().as_str()), Some("4"));
        assert!(pods.pod("kube-system/dns").unwrap().sandbox().is_none());
        for missing in ["web", "default/dns", "", "/", "default/", "default/web/"] {
            assert!(pods.pod(missing).is_none(), "{missing}");
        }
        assert_eq!(pods.of(all.by_id("2").unwrap()), Some(web));
        assert_eq!(pods.of(all.by_id("6").unwrap()), None);
        assert_eq!((pods.len(), pods.is_empty(), Pods::default().is_empty()), (2, false, true));
    }

    #[test]
    fn a_pod_and_the_one_that_replaces_it_are_two() {
        let (old, new) = (("default", "web", "zz-old"), ("default", "web", "aa-new"));
        let pods = Portfolio::from_iter([
            sandbox("1", old, 100),
            container("2", "app", old),
            sandbox("3", new, 200),
            container("4", "app", new),
            container("5", "app", ("default", "web2", "another")),
        ])
        .pods();
        let reported: Vec<_> =
            pods.all_by_name("default/web").map(|pod| (pod.uid(), ids(pod.containers()))).collect();
        assert_eq!(reported, [("aa-new", vec!["4"]), ("zz-old", vec!["2"])]);
        assert_eq!(pods.pod("default/web").unwrap().uid(), "aa-new", "it began last");
        assert_eq!(pods.len(), 3);
    }

    #[test]
    fn of_a_pods_sandboxes_the_newest_counts() {
        let pods = Portfolio::from_iter([sandbox("1", WEB, 100), sandbox("2", WEB, 200)]).pods();
        let pod = pods.pod("default/web").unwrap();
        assert_eq!(ids(pod.sandboxes()), ["2", "1"]);
        assert_eq!(pod.sandbox().map(|sandbox| sandbox.id().as_str()), Some("2"));
        assert_eq!(pod.containers().len(), 0);
        assert_eq!(pod.started_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(200)));
    }

    #[test]
    fn without_a_sandbox_a_pod_began_with_its_oldest_container() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let began = |containers: Vec<Container>| {
            Portfolio::from_iter(containers).pods().pod("default/web").unwrap().started_at()
        };
        let restarted = container("1", "a", WEB).with_started_at(at(9));
        let oldest = container("2", "b", WEB).with_started_at(at(5));
        assert_eq!(began(vec![restarted.clone(), oldest.clone()]), Some(at(5)));
        assert_eq!(began(vec![restarted, oldest, sandbox("3", WEB, 7)]), Some(at(7)));
        assert_eq!(began(vec![container("1", "a", WEB)]), None);
    }

    #[test]
    fn the_name_is_what_makes_a_pod_and_what_else_is_missing_is_empty() {
        let named = Labels::from_iter([(POD_NAME_LABEL, "web")]);
        let pod = PodIdentity::of(&named).unwrap();
        assert_eq!((pod.namespace(), pod.name(), pod.uid()), ("", "web", ""));
        let bare = Container::new("1", "1", 1).with_labels(named.clone());
        assert!(Portfolio::from_iter([bare]).pods().pod("/web").is_some());
        let nameless = Labels::from_iter([(POD_NAMESPACE_LABEL, "default"), (POD_UID_LABEL, "1")]);
        assert_eq!(PodIdentity::of(&nameless), None);
    }

    proptest! {
        /// Each container is in the one pod that its labels name, and in no other.
        #[test]
        fn each_container_is_in_the_pod_that_its_labels_name(
            all in proptest::collection::vec((0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8), 0..40)
        ) {
            let all = all.into_iter().zip(0..).map(|((kind, namespace, name, uid), id)| {
                let (id, pod) = (id.to_string(), (namespace.to_string(), name.to_string(), uid.to_string()));
                let pod = (&*pod.0, &*pod.1, &*pod.2);
                match kind {
                    0 => Container::new(id, "lone", 1),
                    1 => container(&id, "app", pod),
                    _ => sandbox(&id, pod, 1),
                }
            });
            let all = Portfolio::from_iter(all);
            let pods = all.pods();
            let mut found = 0;
            for pod in &pods {
                prop_assert!(pod.sandboxes().all(|one| one.is_sandbox()));
                prop_assert!(!pod.containers().any(|one| one.is_sandbox()));
                for member in pod.sandboxes().chain(pod.containers()) {
                    prop_assert_eq!(member.pod(), Some(pod.identity()));
                    prop_assert_eq!(pods.of(member), Some(pod));
                    found += 1;
                }
                let name = pod.identity().to_string();
                prop_assert!(pods.all_by_name(&name).any(|one| one == pod));
                prop_assert!(pods.all_by_name(&name).all(|one| one.identity().to_string() == name));
            }
            prop_assert_eq!(found, all.containers().filter(|one| one.pod().is_some()).count());
            prop_assert!(pods.iter().map(Pod::identity).is_sorted());
        }
    }
}
