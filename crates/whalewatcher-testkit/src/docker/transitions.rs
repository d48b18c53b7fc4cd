//! Transitions of containers, with their events in order. dockerd's order was observed on real engines; podman's
//! differs.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use super::{
    Error,
    container::{Container, ContainerSpec, Phase, RestartPolicy, Update},
    engine::State,
    inspect::network_id,
};

impl State {
    pub(super) fn create(&mut self, spec: ContainerSpec) -> Result<Arc<str>, Error> {
        let name: Arc<str> = spec.name.trim_start_matches('/').into();
        self.claim(&name)?;
        let (created, serial) = (self.tick(), self.next_serial());
        let id: Arc<str> = self.new_id().into();
        self.add(Container {
            id: Arc::clone(&id),
            serial,
            name,
            labels: Arc::new(spec.labels.clone()),
            networks: Arc::new(spec.networks.clone()),
            spec: Arc::new(spec),
            phase: Phase::Created,
            pid: 0,
            created,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            restarts: 0,
            health: None,
            oom_killed: false,
            forced_status: None,
        });
        self.emit_of(&id, "create", &[]);
        Ok(id)
    }

    pub(super) fn start(&mut self, key: &str) -> Result<(), Error> {
        let container = self.find(key)?;
        if container.is_alive() {
            return Err(Error::impossible(key, "is running already"));
        }
        let by_policy = container.phase == Phase::Restarting;
        self.begin(&container.id, by_policy);
        Ok(())
    }

    fn begin(&mut self, id: &str, by_policy: bool) {
        if self.flavour().is_podman() {
            self.emit_of(id, "init", &[]);
        }
        let now = self.tick();
        let pid = self.next_pid();
        self.change(id, |container| {
            container.phase = Phase::Running;
            container.pid = pid;
            container.started_at = Some(now);
            container.exit_code = 0;
            container.restarts = if by_policy { container.restarts + 1 } else { 0 };
            container.health = container.spec.health_check.then(|| "starting".into());
            container.oom_killed = false;
            container.forced_status = None;
        });
        self.emit_of_networks(id, "connect");
        self.emit_of(id, "start", &[]);
    }

    fn alive(&self, key: &str) -> Result<Arc<Container>, Error> {
        let container = self.find(key)?;
        if container.is_alive() { Ok(container) } else { Err(Error::impossible(key, "is not running")) }
    }

    pub(super) fn exit(&mut self, key: &str, code: i32) -> Result<(), Error> {
        let container = self.alive(key)?;
        self.end(&container, code, false, &[]);
        self.clean_up(&container);
        Ok(())
    }

    /// Ends the process. Each of `before` is an event that dockerd emits after the process has ended, but before the
    /// event of its end.
    fn end(&mut self, container: &Container, code: i32, by_hand: bool, before: &[&str]) {
        let id = &container.id;
        let now = self.tick();
        let lasted = container.started_at.map_or(0, |started| now.duration_since(started).as_secs());
        self.change(id, |container| {
            let again = !by_hand && container.spec.restart != RestartPolicy::No;
            container.phase = if again { Phase::Restarting } else { Phase::Exited };
            container.pid = 0;
            container.finished_at = Some(now);
            container.exit_code = code;
            container.forced_status = None;
        });
        self.emit_of_networks(id, "disconnect");
        for action in before {
            self.emit_of(id, action, &[]);
        }
        let (code, lasted) = (code.to_string(), lasted.to_string());
        let podman = self.flavour().is_podman();
        let more: &[(&str, &str)] = match podman {
            false => &[("execDuration", &lasted), ("exitCode", &code)],
            true => &[("containerExitCode", &code), ("exitCode", &code)],
        };
        self.emit_of(id, self.flavour().end(), more);
        if podman {
            self.emit_of(id, "cleanup", &[]);
        }
    }

    /// Removes a container that has just exited, if its specification requires that.
    fn clean_up(&mut self, container: &Container) {
        if container.spec.auto_remove {
            self.destroy(&container.id);
        }
    }

    pub(super) fn kill(&mut self, key: &str, signal: u8) -> Result<(), Error> {
        /// The signals that end a process by default: HUP, INT, QUIT, ILL, ABRT, KILL, SEGV, TERM.
        const DEADLY: [u8; 8] = [1, 2, 3, 4, 6, 9, 11, 15];
        let container = self.alive(key)?;
        self.emit_of(&container.id, "kill", &[("signal", &signal.to_string())]);
        if DEADLY.contains(&signal) {
            self.end(&container, 128 + i32::from(signal), matches!(signal, 9 | 15), &[]);
            self.clean_up(&container);
        }
        Ok(())
    }

    pub(super) fn stop(&mut self, key: &str) -> Result<(), Error> {
        let container = self.find(key)?;
        if container.phase == Phase::Restarting {
            self.change(&container.id, |container| container.phase = Phase::Exited);
            return Ok(());
        }
        let container = self.alive(key)?;
        self.terminate(&container);
        self.clean_up(&container);
        Ok(())
    }

    fn terminate(&mut self, container: &Container) {
        if !self.flavour().is_podman() {
            self.emit_of(&container.id, "kill", &[("signal", "15")]);
        }
        self.end(container, 143, true, &["stop"]);
    }

    pub(super) fn restart(&mut self, key: &str) -> Result<(), Error> {
        let container = self.find(key)?;
        let podman = self.flavour().is_podman();
        if podman {
            self.emit_of(&container.id, "restart", &[]);
        }
        if container.is_alive() {
            // podman emits the restart only, dockerd the stop as well.
            if podman { self.end(&container, 143, true, &[]) } else { self.terminate(&container) }
        }
        self.begin(&container.id, false);
        if !podman {
            self.emit_of(&container.id, "restart", &[]);
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, key: &str) -> Result<(), Error> {
        let container = self.alive(key)?;
        if container.phase == Phase::Paused {
            return Err(Error::impossible(key, "is paused"));
        }
        self.turn(&container.id, Phase::Paused, "pause");
        Ok(())
    }

    pub(super) fn unpause(&mut self, key: &str) -> Result<(), Error> {
        let container = self.alive(key)?;
        if container.phase != Phase::Paused {
            return Err(Error::impossible(key, "is not paused"));
        }
        self.turn(&container.id, Phase::Running, "unpause");
        Ok(())
    }

    fn turn(&mut self, id: &str, phase: Phase, action: &str) {
        let ends_checks = phase == Phase::Paused && !self.flavour().is_podman();
        self.change(id, |container| {
            container.phase = phase;
            container.forced_status = None;
            // dockerd ends the health check meanwhile.
            if let Some(health) = container.health.as_mut().filter(|_| ends_checks) {
                *health = "unhealthy".into();
            }
        });
        self.emit_of(id, action, &[]);
    }

    pub(super) fn connect(&mut self, key: &str, network: &str, address: Ipv4Addr) -> Result<(), Error> {
        let container = self.find(key)?;
        let connected = (network.to_owned(), address);
        self.change(&container.id, |container| Arc::make_mut(&mut container.networks).push(connected));
        if container.is_alive() {
            self.emit_of_network(&container.id, "connect", network);
        }
        Ok(())
    }

    pub(super) fn disconnect(&mut self, key: &str, network: &str) -> Result<(), Error> {
        let container = self.find(key)?;
        self.change(&container.id, |container| {
            Arc::make_mut(&mut container.networks).retain(|(name, _)| name != network);
        });
        if container.is_alive() {
            self.emit_of_network(&container.id, "disconnect", network);
        }
        Ok(())
    }

    /// Emits what dockerd does when a container begins or ends.
    fn emit_of_networks(&mut self, id: &str, action: &str) {
        let Ok(container) = self.find(id) else { return };
        if !self.flavour().is_podman() {
            for (network, _) in container.networks.iter() {
                self.emit_of_network(id, action, network);
            }
        }
    }

    fn emit_of_network(&mut self, id: &str, action: &str, network: &str) {
        let name = ("name".to_owned(), network.to_owned());
        if self.flavour().is_podman() {
            return self.emit("network", action, id, BTreeMap::from([name]));
        }
        let more = [("container".to_owned(), id.to_owned()), ("type".to_owned(), "bridge".to_owned()), name];
        self.emit("network", action, &network_id(network), BTreeMap::from(more));
    }

    pub(super) fn oom(&mut self, key: &str) -> Result<(), Error> {
        let container = self.alive(key)?;
        self.change(&container.id, |container| container.oom_killed = true);
        self.emit_of(&container.id, "oom", &[]);
        Ok(())
    }

    pub(super) fn rename(&mut self, key: &str, name: &str) -> Result<(), Error> {
        let container = self.find(key)?;
        let name: Arc<str> = name.trim_start_matches('/').into();
        self.claim(&name)?;
        self.give_name(&container, name);
        // With the slash, unlike `name`.
        self.emit_of(&container.id, "rename", &[("oldName", &format!("/{}", container.name))]);
        Ok(())
    }

    pub(super) fn update(&mut self, key: &str, update: Update) -> Result<(), Error> {
        let container = self.find(key)?;
        self.change(&container.id, |container| {
            if let Some(labels) = update.labels {
                container.labels = Arc::new(labels);
            }
        });
        self.emit_of(&container.id, "update", &[]);
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) -> Result<(), Error> {
        let container = self.find(key)?;
        if container.is_alive() {
            if !self.flavour().is_podman() {
                self.emit_of(&container.id, "kill", &[("signal", "9")]);
            }
            self.end(&container, 137, true, &[]);
        }
        self.destroy(&container.id);
        Ok(())
    }

    fn destroy(&mut self, id: &str) {
        let action = if self.flavour().is_podman() { "remove" } else { "destroy" };
        self.emit_of(id, action, &[]);
        self.drop_container(id);
    }

    pub(super) fn exec(&mut self, key: &str) -> Result<(), Error> {
        let container = self.alive(key)?;
        if container.phase == Phase::Paused {
            return Err(Error::impossible(key, "is paused"));
        }
        let id = &container.id;
        let exec = self.new_id();
        if self.flavour().is_podman() {
            self.emit_of(id, "exec", &[("execID", &exec)]);
            self.emit_of(id, "exec_died", &[("execID", &exec), ("exitCode", "0")]);
            return Ok(());
        }
        self.emit_of(id, "exec_create: /bin/sh -c true", &[("execID", &exec)]);
        self.emit_of(id, "exec_start: /bin/sh -c true", &[("execID", &exec)]);
        self.emit_of(id, "exec_die", &[("execID", &exec), ("exitCode", "0")]);
        Ok(())
    }

    pub(super) fn health(&mut self, key: &str, health: &str) -> Result<(), Error> {
        let container = self.alive(key)?;
        if self.flavour().is_podman() {
            // That of 4.3 comes before the result, and with every probe.
            self.emit_of(&container.id, "health_status", &[]);
        }
        self.change(&container.id, |container| container.health = Some(health.into()));
        if !self.flavour().is_podman() && container.health.as_deref() != Some(health) {
            self.emit_of(&container.id, &format!("health_status: {health}"), &[]);
        }
        Ok(())
    }

    pub(super) fn set_status(&mut self, key: &str, status: &str) -> Result<(), Error> {
        let container = self.find(key)?;
        self.change(&container.id, |container| container.forced_status = Some(status.into()));
        Ok(())
    }
}
