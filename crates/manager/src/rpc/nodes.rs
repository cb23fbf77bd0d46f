//! `warren.v1.Nodes`.

use tonic::{Request, Response, Status, async_trait};
use warren_core::{
    Invalid,
    id::NodeId,
    invalid::At,
    node::{LabelKey, labels_from_wire},
    wire::{enumerated, text},
};
use warren_proto::v1::{self as pb, nodes_server::Nodes};

use super::Context;
use crate::{
    input::{Input, NodeInput, Relabel},
    lookup,
    rejection::Rejection,
    views,
};

pub struct NodesApi(pub Context);

#[async_trait]
impl Nodes for NodesApi {
    async fn get(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::Node>, Status> {
        let published = self.0.handle.published();
        let node = lookup::node(&published.cluster, &request.into_inner().node)?;
        Ok(Response::new(views::node(node, &self.0.calls)))
    }

    async fn list(
        &self,
        _request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        let published = self.0.handle.published();
        let cluster = &published.cluster;
        let mut nodes: Vec<_> = cluster.nodes().collect();
        nodes.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let calls = &self.0.calls;
        let nodes = nodes.into_iter().map(|node| views::node_row(cluster, node, calls));
        Ok(Response::new(pb::ListNodesResponse { nodes: nodes.collect() }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteNodeRequest>,
    ) -> Result<Response<pb::DeleteNodeResponse>, Status> {
        let pb::DeleteNodeRequest { node } = request.into_inner();
        let input = |reply| Input::Node(NodeInput::Remove { node, reply });
        self.0.handle.ask(input).await?;
        Ok(Response::new(pb::DeleteNodeResponse {}))
    }

    async fn set_availability(
        &self,
        request: Request<pb::SetAvailabilityRequest>,
    ) -> Result<Response<pb::NodeRow>, Status> {
        let pb::SetAvailabilityRequest { node, kind, reason } = request.into_inner();
        let kind = enumerated::<pb::AvailabilityKind, _>("kind", kind).map_err(Rejection::from)?;
        let reason = text(reason);
        let input = |reply| Input::Node(NodeInput::SetAvailability { node, kind, reason, reply });
        let id = self.0.handle.ask(input).await?;
        Ok(Response::new(self.row(id)?))
    }

    async fn set_labels(
        &self,
        request: Request<pb::SetLabelsRequest>,
    ) -> Result<Response<pb::NodeRow>, Status> {
        let pb::SetLabelsRequest { node, set, remove } = request.into_inner();
        let wish = relabel(set, &remove).map_err(Rejection::from)?;
        let input = |reply| Input::Node(NodeInput::SetLabels { node, wish, reply });
        let id = self.0.handle.ask(input).await?;
        Ok(Response::new(self.row(id)?))
    }
}

impl NodesApi {
    fn row(&self, id: NodeId) -> Result<pb::NodeRow, Rejection> {
        let published = self.0.handle.published();
        let gone = || Rejection::NotFound(format!("node {id} was removed meanwhile"));
        let node = published.cluster.node(id).ok_or_else(gone)?;
        Ok(views::node_row(&published.cluster, node, &self.0.calls))
    }
}

fn relabel(set: Vec<pb::Label>, remove: &[String]) -> Result<Relabel, Invalid> {
    let set = labels_from_wire(set).at("set")?;
    if remove.len() > LabelKey::COUNT_MAX {
        return Err(Invalid::new(format!("are more than {}", LabelKey::COUNT_MAX)).at("remove"));
    }
    let key = |(index, key): (usize, &String)| -> Result<LabelKey, Invalid> {
        let at = |invalid: Invalid| invalid.at_index(index).at("remove");
        let key = key.parse().map_err(at)?;
        if set.contains_key(&key) {
            return Err(at(Invalid::new(format!("{key} is set as well"))));
        }
        Ok(key)
    };
    let remove = remove.iter().enumerate().map(key).collect::<Result<_, _>>()?;
    Ok(Relabel { set, remove })
}
