//! What people say of nodes.

use warren_core::{
    Invalid,
    change::Change,
    event::EventKind,
    id::NodeId,
    node::{LabelKey, Node},
};

use super::{Draft, Subject};
use crate::{input::Relabel, lookup, rejection::Rejection};

/// Somebody labels the node. All of it or nothing.
pub fn set(draft: &mut Draft, text: &str, wish: Relabel) -> Result<NodeId, Rejection> {
    let node = lookup::node(draft.cluster(), text)?.clone();
    let (id, name) = (node.id, &node.name);
    let mut next = (*node).clone();
    let mut told = Vec::new();
    for key in wish.remove {
        if next.operator_labels.remove(&key).is_some() {
            told.push(match node.labels.get(&key) {
                Some(value) => format!("node {name} is labelled {key}={value} as its worker says"),
                None => format!("node {name} is not labelled {key} any more"),
            });
        } else if let Some(value) = node.labels.get(&key) {
            return Err(declared(&node, &key, value));
        }
    }
    for (key, value) in wish.set {
        let is = format!("node {name} is labelled {key}={value}");
        if next.operator_labels.insert(key, value.clone()).is_none_or(|before| before != value) {
            told.push(is);
        }
    }
    let (count, most) = (next.operator_labels.len(), LabelKey::COUNT_MAX);
    if count > most {
        let why = format!("node {name} would have {count} labels, and {most} are the most");
        return Err(Invalid::new(why).at("set").into());
    }
    if !told.is_empty() {
        draft.put(Change::PutNode(Box::new(next)));
    }
    for message in told {
        draft.tell(EventKind::NodeLabelled, Subject::node(id), message);
    }
    Ok(id)
}

fn declared(node: &Node, key: &LabelKey, value: &str) -> Rejection {
    let name = &node.name;
    Rejection::Forbidden(format!(
        "the worker of node {name} was started with --label {key}={value}: start it without that, \
         or set {key} to another value here"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{
        fixture::{EPOCH, NODE, hello_of, with_task},
        node::hello,
    };

    fn wish(set: &[(&str, &str)], remove: &[&str]) -> Relabel {
        let label = |(key, value): &(&str, &str)| (key.parse().unwrap(), (*value).to_owned());
        Relabel {
            set: set.iter().map(label).collect(),
            remove: remove.iter().map(|key| key.parse().unwrap()).collect(),
        }
    }

    fn label(draft: &Draft, key: &str) -> Option<String> {
        let node = draft.cluster().node(NODE).unwrap();
        node.label(&key.parse().unwrap()).map(str::to_owned)
    }

    ///
    #[test]
    fn an_operators_label_wins_stays_when_the_worker_returns_and_gives_way_when_it_is_removed() {
        let mut draft = with_task();
        let declared = |value: &str| {
            let mut hello = hello_of(EPOCH + 1, vec![]);
            hello.labels.insert("zone".parse().unwrap(), value.to_owned());
            hello
        };
        hello(&mut draft, declared("b")).unwrap();
        set(&mut draft, "alpha", wish(&[("zone", "a"), ("rack", "r7")], &[])).unwrap();
        hello(&mut draft, declared("c")).unwrap();
        assert_eq!(label(&draft, "zone").as_deref(), Some("a"));
        set(&mut draft, "alpha", wish(&[("disk", "")], &["zone", "rack", "never"])).unwrap();
        assert_eq!(label(&draft, "zone").as_deref(), Some("c"));
        assert_eq!(label(&draft, "rack"), None);
        assert_eq!(label(&draft, "disk").as_deref(), Some(""));
        let said: Vec<String> = draft.cluster().events().map(|e| e.message.clone()).collect();
        let expected = [
            "node alpha is labelled rack=r7",
            "node alpha is labelled zone=a",
            "node alpha is not labelled rack any more",
            "node alpha is labelled zone=c as its worker says",
            "node alpha is labelled disk=",
        ];
        assert_eq!(said, expected);
    }

    ///
    #[test]
    fn what_is_so_already_is_not_written_and_what_cannot_be_changes_nothing() {
        let mut draft = with_task();
        set(&mut draft, "alpha", wish(&[("zone", "a")], &[])).unwrap();
        let written = draft.changes().len();
        set(&mut draft, "alpha", wish(&[("zone", "a")], &["rack"])).unwrap();
        assert_eq!(draft.changes().len(), written);

        let mut with_disk = hello_of(EPOCH, vec![]);
        with_disk.labels.insert("disk".parse().unwrap(), "ssd".to_owned());
        hello(&mut draft, with_disk).unwrap();
        let refused = draft.attempt(|d| set(d, "alpha", wish(&[("zone", "b")], &["disk"])));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the worker of node alpha was started with --label disk=ssd: start it without that, or \
             set disk to another value here"
        );
        let many: Vec<String> = (1..=64).map(|n| format!("k{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
        let refused = draft.attempt(|d| set(d, "alpha", wish(&many, &[])));
        let expected = "set: node alpha would have 65 labels, and 64 are the most";
        assert_eq!(refused.unwrap_err().to_string(), expected);
        assert_eq!(label(&draft, "zone").as_deref(), Some("a"));
        let gone = set(&mut draft, "gamma", wish(&[], &[])).unwrap_err();
        assert!(matches!(gone, Rejection::NotFound(_)), "{gone}");
    }
}
