//! Random transitions of containers.

use std::sync::Mutex;

use anyhow::Result;
use fastrand::Rng;
use whalewatcher_drivers::docker::{Driver, Plan};

use crate::fixture::locked;
use crate::lives::Lives;
use crate::random_steps::{RandomSteps, Steps};

/// What can be done to containers. Several may do things to one at once.
pub(crate) struct Churn {
    docker: Driver,
}

/// A container of this name, which is another one when it is created again.
pub(crate) struct Slot {
    name: String,
    current: Mutex<Current>,
    /// Held while a process is started in it and while it is paused: runc 1.1.5 hangs for ever if its container freezes
    /// while it starts one there, and dockerd with it.
    freezing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Current {
    id: String,
    /// It ends by itself at once, each time that it is started.
    is_brief: bool,
}

/// Makes so many containers, all of which run. What happens to them is not noted: dockerd's own events say more.
pub(crate) async fn churn(docker: &Driver, count: usize, seed: u64) -> Result<RandomSteps<Churn>> {
    let names: Vec<String> = (0..count).map(|number| format!("churned-{number}")).collect();
    let ids = docker.run_all(names.iter().map(|name| plan(name))).await?;
    let slots = names.into_iter().zip(ids).map(|(name, id)| {
        let current = Mutex::new(Current { id, is_brief: false });
        Slot { name, current, freezing: Default::default() }
    });
    Ok(RandomSteps::new(Churn { docker: docker.clone() }, slots, Lives::by_id(), seed))
}

impl Slot {
    /// The ID of the container that there is now.
    pub(crate) fn id(&self) -> String {
        locked(&self.current).id.clone()
    }
}

impl Steps for Churn {
    type Slot = Slot;

    async fn step(&self, slot: &Slot, random: &mut Rng, _lives: &Mutex<Lives>) -> Result<()> {
        let docker = &self.docker;
        let id = slot.id();
        match random.u8(0..22) {
            0..5 => docker.start(&id).await,
            5..8 => docker.kill(&id, "KILL").await,
            8 => docker.stop(&id, 0).await,
            9..12 => {
                let _freezing = slot.freezing.lock().await;
                docker.pause(&id).await
            }
            12..15 => docker.unpause(&id).await,
            15 => docker.restart(&id, 0).await,
            16..18 => docker.rename(&id, &format!("{}-{}", slot.name, random.u16(..))).await,
            18..20 => {
                let _freezing = slot.freezing.lock().await;
                docker.exec_detached(&id, "true").await
            }
            _ => {
                docker.remove(&id).await?;
                let is_brief = random.u8(0..3) == 0;
                let plan = plan(&format!("{}-{}", slot.name, random.u16(..)));
                let id = docker.create(if is_brief { plan.running("exit 1") } else { plan }).await?;
                *locked(&slot.current) = Current { id: id.clone(), is_brief };
                docker.start(&id).await
            }
        }
    }

    /// Waits until one that ends by itself has.
    async fn settle(&self, slot: &Slot, _lives: &Mutex<Lives>) -> Result<()> {
        let current = locked(&slot.current).clone();
        if current.is_brief {
            // One that is paused in its short life stays.
            let _ = self.docker.unpause(&current.id).await;
            self.docker.until_ended(&current.id).await?;
        }
        Ok(())
    }
}

fn plan(name: &str) -> Plan {
    Plan::named(name).in_project("churn")
}
