//! The changes of sandboxes and containers, with their events in the order of real runtimes. containerd
//! reports each start and each exit before its CRI does, so both take two steps.

use std::sync::Arc;

use jiff::Timestamp;
use whalewatcher_api::cri::v1::ContainerEventType as Reported;

use super::{
    Error,
    engine::{POD_UID, State},
    info::Info,
    record::{Ended, Phase, Record, UnderWay},
    spec::{ContainerSpec, Pod, PodSpec},
};

/// The image of sandboxes.
const PAUSE: &str = "registry.k8s.io/pause:3.10";

impl State {
    /// The sandbox has its process, but is not visible.
    pub(super) fn begin_pod(&mut self, spec: PodSpec) -> Result<Arc<str>, Error> {
        let id: Arc<str> = spec.id.unwrap_or_else(new_id).into();
        let uid = spec.uid.unwrap_or_else(new_uid);
        let mut labels = spec.labels;
        if spec.from_kubelet {
            labels.insert("io.kubernetes.pod.name".into(), spec.name.clone());
            labels.insert("io.kubernetes.pod.namespace".into(), spec.namespace.clone());
            labels.insert(POD_UID.into(), uid.clone());
        }
        let name = spec.name.clone();
        let record = Record {
            id: Arc::clone(&id),
            sandbox: None,
            name,
            attempt: spec.attempt,
            pod: Pod { name: spec.name, namespace: spec.namespace, uid, addresses: spec.addresses },
            image: PAUSE.into(),
            labels,
            annotations: spec.annotations,
            from_kubelet: spec.from_kubelet,
            infra_container: spec.infra_container,
            created: Timestamp::MIN,
            phase: Phase::Hidden,
            under_way: None,
            started: None,
            ended: None,
            pid: 0,
            out_of_memory: false,
            raw_state: None,
            info: Info::Reported,
        };
        self.make(record, "sandbox")?;
        self.begin_start(&id)?;
        Ok(id)
    }

    pub(super) fn run_pod(&mut self, spec: PodSpec) -> Result<Arc<str>, Error> {
        let id = self.begin_pod(spec)?;
        self.finish_start(&id)?;
        Ok(id)
    }

    pub(super) fn create(&mut self, sandbox: &str, spec: ContainerSpec) -> Result<Arc<str>, Error> {
        let pod = self.find_sandbox(sandbox)?;
        if pod.phase != Phase::Running {
            return Err(Error::impossible(sandbox, "is not ready"));
        }
        let id: Arc<str> = spec.id.unwrap_or_else(new_id).into();
        let mut labels = spec.labels;
        if pod.from_kubelet {
            labels.insert("io.kubernetes.container.name".into(), spec.name.clone());
            labels.insert("io.kubernetes.pod.name".into(), pod.pod.name.clone());
            labels.insert("io.kubernetes.pod.namespace".into(), pod.pod.namespace.clone());
            labels.insert(POD_UID.into(), pod.pod.uid.clone());
        }
        let record = Record {
            id: Arc::clone(&id),
            sandbox: Some(Arc::clone(&pod.id)),
            name: spec.name,
            attempt: spec.attempt,
            pod: pod.pod.clone(),
            image: spec.image,
            labels,
            annotations: spec.annotations,
            from_kubelet: pod.from_kubelet,
            infra_container: true,
            created: Timestamp::MIN,
            phase: Phase::Created,
            under_way: None,
            started: None,
            ended: None,
            pid: 0,
            out_of_memory: false,
            raw_state: None,
            info: Info::Reported,
        };
        self.make(record, "container")?;
        self.report(Reported::ContainerCreatedEvent, &id, sandbox);
        Ok(id)
    }

    fn find_sandbox(&self, id: &str) -> Result<&Record, Error> {
        let record = self.find(id)?;
        if record.is_sandbox() { Ok(record) } else { Err(Error::impossible(id, "is no sandbox")) }
    }

    /// Adds it, and its container in containerd.
    fn make(&mut self, mut record: Record, kind: &str) -> Result<(), Error> {
        if self.find(&record.id).is_ok() {
            return Err(Error::impossible(record.id.to_string(), "exists already"));
        }
        let mut labels: Vec<_> = record.labels.clone().into_iter().collect();
        labels.push(("io.cri-containerd.kind".into(), kind.into()));
        self.containerd.create(&record.id, &record.image, &labels)?;
        record.created = self.containerd.tick();
        self.add(record)
    }

    /// Its process runs, and containerd says so.
    pub(super) fn begin_start(&mut self, id: &str) -> Result<u32, Error> {
        self.can_start(id)?;
        let pid = self.containerd.start(id)?;
        let at = self.containerd.tick();
        self.find_mut(id)?.under_way = Some(UnderWay::Start { pid, at });
        Ok(pid)
    }

    fn can_start(&self, id: &str) -> Result<(), Error> {
        let record = self.find(id)?;
        if record.under_way.is_some() {
            return Err(Error::impossible(id, "is changing already"));
        }
        if !matches!(record.phase, Phase::Hidden | Phase::Created) {
            return Err(Error::impossible(id, "was started before"));
        }
        match &record.sandbox {
            Some(sandbox) if self.find(sandbox)?.phase != Phase::Running => {
                Err(Error::impossible(sandbox.to_string(), "is not ready"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn finish_start(&mut self, id: &str) -> Result<(), Error> {
        let is_crio = self.flavour.is_crio();
        let record = self.find_mut(id)?;
        let Some(UnderWay::Start { pid, at }) = record.under_way else {
            return Err(Error::impossible(id, "is not changing"));
        };
        record.under_way = None;
        record.phase = Phase::Running;
        record.started = Some(at);
        record.pid = if record.infra_container { pid } else { 0 };
        let (is_sandbox, sandbox) = (record.is_sandbox(), Arc::clone(record.sandbox_id()));
        // CRI-O tries to report a created sandbox, but before it lists it, so that there is no event.
        if is_sandbox && !is_crio {
            self.report(Reported::ContainerCreatedEvent, id, &sandbox);
        }
        self.report(Reported::ContainerStartedEvent, id, &sandbox);
        Ok(())
    }

    pub(super) fn start(&mut self, id: &str) -> Result<u32, Error> {
        let pid = self.begin_start(id)?;
        self.finish_start(id)?;
        Ok(pid)
    }

    /// Its process has ended, and containerd says so.
    pub(super) fn begin_exit(&mut self, id: &str, code: i32) -> Result<(), Error> {
        let record = self.find(id)?;
        if record.under_way.is_some() {
            return Err(Error::impossible(id, "is changing already"));
        }
        if record.phase != Phase::Running {
            return Err(Error::impossible(id, "is not running"));
        }
        self.containerd.exit(id, code.cast_unsigned())?;
        let at = self.containerd.tick();
        self.find_mut(id)?.under_way = Some(UnderWay::End(Ended { at, code }));
        Ok(())
    }

    pub(super) fn finish_exit(&mut self, id: &str) -> Result<(), Error> {
        let Some(UnderWay::End(ended)) = self.find(id)?.under_way else {
            return Err(Error::impossible(id, "is not changing"));
        };
        self.containerd.delete_task(id)?;
        let record = self.find_mut(id)?;
        record.under_way = None;
        record.phase = Phase::Exited;
        record.ended = Some(ended);
        record.pid = 0;
        let sandbox = Arc::clone(record.sandbox_id());
        self.report(Reported::ContainerStoppedEvent, id, &sandbox);
        Ok(())
    }

    pub(super) fn exit(&mut self, id: &str, code: i32) -> Result<(), Error> {
        self.begin_exit(id, code)?;
        self.finish_exit(id)
    }

    /// So soon that containerd reports the exit before the start. The CRI reports both in order.
    pub(super) fn start_and_exit(&mut self, id: &str, code: i32) -> Result<(), Error> {
        self.can_start(id)?;
        let at = self.containerd.tick();
        let pid = self.containerd.start_and_exit(id, code.cast_unsigned())?;
        self.find_mut(id)?.under_way = Some(UnderWay::Start { pid, at });
        self.finish_start(id)?;
        let at = self.containerd.tick();
        self.find_mut(id)?.under_way = Some(UnderWay::End(Ended { at, code }));
        self.finish_exit(id)
    }

    /// What is under way comes to its end; what runs is killed.
    fn end(&mut self, id: &str) -> Result<(), Error> {
        match self.find(id)?.under_way {
            Some(UnderWay::Start { .. }) => self.finish_start(id)?,
            Some(UnderWay::End(_)) => self.finish_exit(id)?,
            None => {}
        }
        if self.find(id)?.phase == Phase::Running { self.exit(id, 137) } else { Ok(()) }
    }

    fn ids_of(&self, sandbox: &str) -> Vec<Arc<str>> {
        self.containers_of(sandbox).map(|record| Arc::clone(&record.id)).collect()
    }

    /// Its containers first.
    pub(super) fn stop(&mut self, id: &str) -> Result<(), Error> {
        if self.find(id)?.is_sandbox() {
            for container in self.ids_of(id) {
                self.end(&container)?;
            }
        }
        self.end(id)
    }

    /// Its containers first, and by force.
    pub(super) fn remove(&mut self, id: &str) -> Result<(), Error> {
        self.stop(id)?;
        if !self.find(id)?.is_sandbox() {
            return self.remove_stopped(id);
        }
        for container in self.ids_of(id) {
            self.remove_stopped(&container)?;
        }
        self.remove_stopped(id)
    }

    fn remove_stopped(&mut self, id: &str) -> Result<(), Error> {
        let record = self.find(id)?;
        let (is_sandbox, sandbox) = (record.is_sandbox(), Arc::clone(record.sandbox_id()));
        self.containerd.remove(id)?;
        // containerd 2 reports a sandbox while it still lists it, 1.7 without a status, CRI-O not at all.
        let early = is_sandbox && self.flavour == super::Flavour::Containerd2_1;
        if early {
            self.report(Reported::ContainerDeletedEvent, id, &sandbox);
        }
        self.forget(id);
        if !early {
            self.report(Reported::ContainerDeletedEvent, id, &sandbox);
        }
        Ok(())
    }

    /// A process besides the container's own. Only containerd emits events for it.
    pub(super) fn exec(&mut self, id: &str, exec: &str, code: i32) -> Result<(), Error> {
        if self.find(id)?.phase != Phase::Running {
            return Err(Error::impossible(id, "is not running"));
        }
        self.containerd.exec(id, exec, code.cast_unsigned())
    }

    pub(super) fn run_out_of_memory(&mut self, id: &str) -> Result<(), Error> {
        if self.find(id)?.phase != Phase::Running {
            return Err(Error::impossible(id, "is not running"));
        }
        self.containerd.run_out_of_memory(id)?;
        self.find_mut(id)?.out_of_memory = true;
        Ok(())
    }
}

fn digits(random: &mut fastrand::Rng, count: usize) -> String {
    (0..count).map(|_| random.digit(16)).collect()
}

fn new_id() -> String {
    digits(&mut fastrand::Rng::new(), 64)
}

fn new_uid() -> String {
    let mut random = fastrand::Rng::new();
    [8, 4, 4, 4, 12].map(|count| digits(&mut random, count)).join("-")
}
