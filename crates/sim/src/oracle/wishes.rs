//! What people asked for, and what of it was acknowledged.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use warren_core::{cluster::Cluster, spec::ServiceSpec};

use crate::app::Habit;

/// What nobody has answered may still be done for so long: requests wait in the network and in
/// the manager's queue.
const DOUBT: Duration = Duration::from_mins(2);

/// A service as it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    pub replicas: u32,
    pub habit: Habit,
    pub version: u64,
}

impl Wish {
    pub fn of(spec: &ServiceSpec) -> Self {
        let template = &spec.template;
        Self {
            replicas: spec.replicas.get(),
            habit: template.args[0].parse().unwrap(),
            version: template.env[0].value().parse().unwrap(),
        }
    }
}

/// By the service's name. Nothing: it is not wanted, or not any more.
#[derive(Debug, Default)]
pub struct Wishes(BTreeMap<String, Asked>);

#[derive(Debug, Default)]
struct Asked {
    certain: Option<Wish>,
    doubtful: Vec<(Option<Wish>, Instant)>,
}

impl Wishes {
    pub fn wished(&mut self, name: &str, wish: Option<Wish>) {
        let asked = self.0.entry(name.to_owned()).or_default();
        asked.doubtful.push((wish, Instant::now()));
    }

    pub fn refused(&mut self, name: &str, wish: Option<Wish>) {
        let asked = self.0.entry(name.to_owned()).or_default();
        if let Some(index) = asked.doubtful.iter().rposition(|(doubt, _)| *doubt == wish) {
            asked.doubtful.remove(index);
        }
    }

    pub fn acknowledged(&mut self, name: &str, wish: Option<Wish>) {
        self.refused(name, wish);
        self.0.entry(name.to_owned()).or_default().certain = wish;
    }

    /// Each service is as it was last acknowledged, or as somebody asked who got no answer.
    pub fn check(&mut self, cluster: &Cluster) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, asked) in &mut self.0 {
            let service = cluster.service_named(&name.parse().unwrap());
            let service = service.filter(|service| service.removed_at.is_none());
            let is = service.map(|service| Wish::of(&service.spec));
            asked.doubtful.retain(|(_, at)| at.elapsed() < DOUBT);
            if is == asked.certain {
                continue;
            }
            if asked.doubtful.iter().any(|(wish, _)| *wish == is) {
                // It was done after all; from here on it is known.
                asked.certain = is;
            } else {
                broken
                    .push(format!("{name} is {is:?}, and was acknowledged as {:?}", asked.certain));
            }
        }
        broken
    }
}
