//! Names for the ids that some answers hold. Tables only: programs get the ids.

use std::collections::HashMap;

use warren_proto::v1 as pb;

use crate::{client::Client, output::words};

/// Names by id. What has none, or is gone, is shown by its id.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// Not getting them costs comfort and nothing else.
    pub async fn of_nodes(client: &Client) -> Self {
        let Ok(list) = client.nodes().list(pb::ListNodesRequest {}).await else {
            return Self::default();
        };
        let nodes = list.into_inner().nodes.into_iter().filter_map(|row| row.node);
        Self(nodes.map(|node| (node.id, node.name)).collect())
    }

    pub fn get(&self, id: &str) -> String {
        words::plain(self.0.get(id).map_or(id, String::as_str))
    }
}
