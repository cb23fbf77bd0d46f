//! Where a service's tasks may run.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    Invalid,
    node::{LabelKey, Node},
};

/// Where tasks may run, and how they are spread there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlacementRules {
    /// All of them hold for a node that runs a task.
    pub constraints: Vec<Constraint>,
    /// Tasks are spread evenly over the values of this; none: over the nodes.
    pub spread: Option<NodeAttribute>,
}

impl PlacementRules {
    /// More would not be read, and each costs on each placement.
    pub const CONSTRAINTS_MAX: usize = 32;

    /// At most 32 constraints.
    pub fn validated(self) -> Result<Self, Invalid> {
        if self.constraints.len() <= Self::CONSTRAINTS_MAX {
            Ok(self)
        } else {
            Err(Invalid::new("has more than 32"))
        }
    }

    /// The first constraint that the node breaks.
    pub fn broken_by(&self, node: &Node) -> Option<&Constraint> {
        self.constraints.iter().find(|constraint| !constraint.holds_for(node))
    }
}

/// What can be asked of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeAttribute {
    Id,
    Name,
    Label(LabelKey),
}

impl NodeAttribute {
    /// Nothing where the node has no such label.
    pub fn of(&self, node: &Node) -> Option<String> {
        match self {
            Self::Id => Some(node.id.to_string()),
            Self::Name => Some(node.name.clone()),
            Self::Label(key) => node.label(key).map(str::to_owned),
        }
    }
}

impl fmt::Display for NodeAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("node.id"),
            Self::Name => f.write_str("node.name"),
            Self::Label(key) => write!(f, "node.labels.{key}"),
        }
    }
}

impl FromStr for NodeAttribute {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "node.id" => Ok(Self::Id),
            // Docker's word for it.
            "node.name" | "node.hostname" => Ok(Self::Name),
            _ => match text.strip_prefix("node.labels.") {
                Some(key) => key.parse().map(Self::Label),
                None => Err(Invalid::new(format!(
                    "{text:?} is not node.id, node.name or node.labels.KEY"
                ))),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    Is,
    IsNot,
}

/// Such as `node.labels.zone==a`. A node without the label has a value that is nothing's equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Constraint {
    pub attribute: NodeAttribute,
    pub comparison: Comparison,
    value: Arc<str>,
}

impl Constraint {
    pub fn holds_for(&self, node: &Node) -> bool {
        let same = self.attribute.of(node).is_some_and(|value| *value == *self.value);
        match self.comparison {
            Comparison::Is => same,
            Comparison::IsNot => !same,
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = match self.comparison {
            Comparison::Is => "==",
            Comparison::IsNot => "!=",
        };
        write!(f, "{}{comparison}{}", self.attribute, self.value)
    }
}

impl FromStr for Constraint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts = [("==", Comparison::Is), ("!=", Comparison::IsNot)];
        let part = |(sign, comparison)| {
            text.split_once(sign).map(|(attribute, value)| (attribute, comparison, value))
        };
        let Some((attribute, comparison, value)) = parts.into_iter().find_map(part) else {
            return Err(Invalid::new(format!("{text:?} is not ATTRIBUTE==VALUE or !=")));
        };
        let value = value.trim();
        if value.is_empty() || value.len() > 253 || value.chars().any(char::is_control) {
            return Err(Invalid::new(format!(
                "{text:?} compares with no value of 1-253 characters"
            )));
        }
        Ok(Self { attribute: attribute.trim().parse()?, comparison, value: value.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_read_back_what_they_show_and_take_dockers_spelling() {
        for text in ["node.labels.zone==a", "node.name!=m 1", "node.id==00000000000000ff"] {
            assert_eq!(text.parse::<Constraint>().unwrap().to_string(), text);
        }
        let docker: Constraint = "node.hostname == m1".parse().unwrap();
        assert_eq!(docker.to_string(), "node.name==m1");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "zone=a", "node.zone==a", "node.labels.==a", "node.name==", "node.name"] {
            assert!(text.parse::<Constraint>().is_err(), "{text:?}");
        }
    }
}
