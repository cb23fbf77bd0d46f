//! What each step of a script does.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    cluster::Sim,
    disk::Manners,
    faults::{self, Fault},
    life::{Host, Moment},
    net::Lane,
    node::Node,
    script::{Step, Who},
};

impl Sim {
    /// Begins it; what it does later, it does by itself.
    pub fn step(&self, step: &Step) {
        match step {
            Step::Create { .. }
            | Step::Scale { .. }
            | Step::Roll { .. }
            | Step::Remove { .. }
            | Step::Pause { .. }
            | Step::Resume { .. }
            | Step::Stop { .. } => {
                if self.people.try_send(step.clone()).is_err() {
                    self.transcript.say("people", format!("{step}: too much to do"));
                }
                return;
            }
            Step::Cut { node } => {
                faults::note(Fault::Cut);
                self.node(*node).link.cut();
            }
            Step::Part { nodes, long } => self.part(nodes, &Lane::ALL, *long),
            Step::Mute { node, lane, long } => self.part(&[*node], &[*lane], *long),
            Step::Sever { node, lane, after } => self.node(*node).link.sever(*lane, *after),
            Step::Crash { who, at, down } => match who {
                Who::Manager => self.manager.crash(*at, *down),
                Who::Node(number) => self.node(*number).crash(*at, *down),
            },
            Step::FailWrite { who, kept } => self.manners(*who).fail_next(*kept),
            Step::SlowDisk { who, by, long } => self.manners(*who).slow_down(*by, *long),
            Step::PowerOff { nodes, long } => {
                let several = nodes.len() > 1;
                faults::note(if several { Fault::PowerOffInAGroup } else { Fault::PowerOff });
                for number in nodes {
                    let node = self.node(*number);
                    node.crash(Moment::Now, *long);
                    node.machine.power_off();
                }
            }
            Step::Runtime { node, long } => self.node(*node).machine.fall_silent(*long),
            Step::Clock { who, seconds } => {
                let (host, forwards) = (Host::of(*who), *seconds > 0);
                faults::note(Fault::Clock { host, forwards });
                match who {
                    Who::Manager => self.manager.clock.step(*seconds),
                    Who::Node(number) => self.node(*number).machine.clock.step(*seconds),
                }
            }
            Step::App { which, mood, long } => {
                self.each(|node| node.machine.set_mood(which, *mood, *long));
            }
            Step::Exit { slot, code } => self.each(|node| node.machine.exit(slot, *code)),
            Step::Heal => {
                self.manager.database.manners.heal();
                self.each(|node| {
                    node.link.part(&Lane::ALL, false);
                    node.disk.manners.heal();
                    node.machine.heal();
                });
            }
        }
        self.transcript.say("script", step.to_string());
    }

    fn part(&self, nodes: &[u32], lanes: &[Lane], long: Duration) {
        if nodes.len() > 1 {
            faults::note(Fault::PartedInAGroup);
        }
        for number in nodes {
            let link = Arc::clone(&self.node(*number).link);
            let lanes = lanes.to_vec();
            link.part(&lanes, true);
            self.tracker.spawn(async move {
                sleep(long).await;
                link.part(&lanes, false);
            });
        }
    }

    fn manners(&self, who: Who) -> &Manners {
        match who {
            Who::Manager => &self.manager.database.manners,
            Who::Node(number) => &self.node(number).disk.manners,
        }
    }

    fn node(&self, number: u32) -> &Node {
        &self.nodes[usize::try_from(number - 1).unwrap()]
    }

    fn each(&self, act: impl Fn(&Node)) {
        self.nodes.iter().for_each(|node| act(node));
    }
}
