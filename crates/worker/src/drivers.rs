//! The drivers that this machine has.

use std::sync::Arc;

use warren_core::{node::Driver, spec::Workload};
use warren_runtime::Runtime;

/// At most one driver of each kind.
#[derive(Debug, Clone, Default)]
pub struct Drivers {
    containerd: Option<Arc<dyn Runtime>>,
    process: Option<Arc<dyn Runtime>>,
}

impl Drivers {
    /// The last one of a kind counts.
    pub fn new(runtimes: impl IntoIterator<Item = Arc<dyn Runtime>>) -> Self {
        let mut drivers = Self::default();
        for runtime in runtimes {
            match runtime.driver() {
                Driver::Containerd => drivers.containerd = Some(runtime),
                Driver::Process => drivers.process = Some(runtime),
            }
        }
        drivers
    }

    /// The same ones, each within another.
    pub(crate) fn map(self, within: impl Fn(Arc<dyn Runtime>) -> Arc<dyn Runtime>) -> Self {
        let Self { containerd, process } = self;
        Self { containerd: containerd.map(&within), process: process.map(&within) }
    }

    pub fn get(&self, driver: Driver) -> Option<&Arc<dyn Runtime>> {
        match driver {
            Driver::Containerd => self.containerd.as_ref(),
            Driver::Process => self.process.as_ref(),
        }
    }

    /// The one that runs such a task.
    pub fn for_workload(&self, workload: &Workload) -> Option<&Arc<dyn Runtime>> {
        self.get(Self::kind_for(workload))
    }

    pub(crate) const fn kind_for(workload: &Workload) -> Driver {
        match workload {
            Workload::Image { .. } => Driver::Containerd,
            Workload::Process { .. } => Driver::Process,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Runtime>> {
        self.containerd.iter().chain(&self.process)
    }
}
