//! `warren node label`, and how labels are shown.

use std::collections::BTreeSet;

use warren_core::{
    Invalid,
    node::{LabelKey, Labels, labels_to_wire},
};
use warren_proto::v1 as pb;

use crate::{
    cli::node::LabelArgs,
    client::{Client, Host},
    console::Console,
    failure::Failure,
    output::words,
};

pub async fn run(args: LabelArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let LabelArgs { node, labels } = args;
    let (set, remove) = wish(&labels)?;
    let remove = remove.iter().map(ToString::to_string).collect();
    let request = pb::SetLabelsRequest { node: node.clone(), set: labels_to_wire(&set), remove };
    let client = Client::connect(host).await?;
    client.nodes().set_labels(request).await?;
    console.line(&node)
}

/// What is to be set, and what is to be removed.
fn wish(texts: &[String]) -> Result<(Labels, BTreeSet<LabelKey>), Failure> {
    let (mut set, mut remove, mut keys) = (Labels::new(), BTreeSet::new(), BTreeSet::new());
    for text in texts {
        let refuse = |why: Invalid| Failure::flag(text, why);
        let key = match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) => {
                let key: LabelKey = key.parse().map_err(refuse)?;
                let value = LabelKey::checked_value(value.to_owned()).map_err(refuse)?;
                set.insert(key.clone(), value);
                key
            }
            (None, Some(key)) => {
                let key: LabelKey = key.parse().map_err(refuse)?;
                remove.insert(key.clone());
                key
            }
            (None, None) => return Err(refuse(Invalid::new("is neither KEY=VALUE nor KEY-"))),
        };
        if !keys.insert(key.clone()) {
            return Err(refuse(Invalid::new(format!("{key} is there twice"))));
        }
    }
    Ok((set, remove))
}

/// Each with who says so; an operator's counts before the worker's.
pub fn lines(node: &pb::Node) -> Vec<String> {
    let line = |label: &pb::Label, by: &str| {
        format!("Label: {}={} ({by})", words::plain(&label.key), words::plain(&label.value))
    };
    let among = |labels: &[pb::Label], key: &str| labels.iter().find(|l| l.key == key).cloned();
    let set = node.operator_labels.iter().map(|label| match among(&node.labels, &label.key) {
        Some(worker) => {
            let over = words::plain(&worker.value);
            line(label, &format!("set by an operator; its worker says {over}"))
        }
        None => line(label, "set by an operator"),
    });
    let alone = |label: &&pb::Label| among(&node.operator_labels, &label.key).is_none();
    let declared = node.labels.iter().filter(alone).map(|label| line(label, "of its worker"));
    let mut lines: Vec<String> = set.chain(declared).collect();
    lines.sort();
    lines
}
