//! The nodes that take tasks, in the order in which a task would like them, so that placing one
//! looks at the first few and not at all.

use imbl::{OrdMap, OrdSet};

use crate::{
    id::NodeId,
    node::{Driver, LabelKey, Node},
};

/// Says nothing that the rows do not, and holds nothing that is empty: two clusters with the same
/// rows are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Open {
    by_driver: OrdMap<Driver, OrdSet<Turn>>,
    /// On how many of the nodes a label has which value.
    labels: OrdMap<LabelKey, OrdMap<String, u32>>,
}

/// Less comes first: whether it is accused, its load, who it is.
type Turn = (bool, u32, NodeId);

impl Open {
    pub fn nodes(&self, driver: Driver) -> impl Iterator<Item = NodeId> {
        self.by_driver.get(&driver).into_iter().flatten().map(|(_, _, id)| *id)
    }

    pub fn count(&self, driver: Driver) -> usize {
        self.by_driver.get(&driver).map_or(0, OrdSet::len)
    }

    pub fn values(&self, label: &LabelKey) -> impl Iterator<Item = &String> {
        self.labels.get(label).into_iter().flat_map(OrdMap::keys)
    }

    pub fn values_count(&self, label: &LabelKey) -> usize {
        self.labels.get(label).map_or(0, OrdMap::len)
    }

    pub fn insert(&mut self, node: &Node, load: u32) {
        self.insert_turn(node, load);
        for (label, value) in labels(node) {
            let values = self.labels.entry(label.clone()).or_default();
            *values.entry(value.to_owned()).or_default() += 1;
        }
    }

    pub fn remove(&mut self, node: &Node, load: u32) {
        self.remove_turn(node, load);
        for (label, value) in labels(node) {
            let Some(values) = self.labels.get_mut(label) else { continue };
            match values.get(value).copied() {
                Some(count @ 2..) => values.insert(value.to_owned(), count - 1),
                Some(0 | 1) | None => values.remove(value),
            };
            if values.is_empty() {
                self.labels.remove(label);
            }
        }
    }

    pub fn insert_turn(&mut self, node: &Node, load: u32) {
        for driver in drivers(node) {
            self.by_driver.entry(*driver).or_default().insert(turn(node, load));
        }
    }

    pub fn remove_turn(&mut self, node: &Node, load: u32) {
        for driver in drivers(node) {
            let Some(turns) = self.by_driver.get_mut(driver) else { continue };
            turns.remove(&turn(node, load));
            if turns.is_empty() {
                self.by_driver.remove(driver);
            }
        }
    }
}

fn turn(node: &Node, load: u32) -> Turn {
    (node.accused.is_some(), load, node.id)
}

fn drivers(node: &Node) -> impl Iterator<Item = &Driver> {
    node.drivers.iter().filter(|_| node.is_open())
}

/// As [`Node::label`] says them.
fn labels(node: &Node) -> impl Iterator<Item = (&LabelKey, &str)> {
    let own = node.labels.keys().filter(|key| !node.operator_labels.contains_key(*key));
    let all = node.operator_labels.keys().chain(own).filter(|_| node.is_open());
    all.filter_map(|key| Some((key, node.label(key)?)))
}
