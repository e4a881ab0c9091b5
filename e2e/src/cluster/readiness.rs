//! Waits until a cluster is ready: its nodes, its BGP sessions, its agents.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    base::{
        error::{Error, Result},
        wait::eventually,
    },
    cluster::handle::Cluster,
};

impl Cluster {
    /// Waits until every node is Ready.
    ///
    /// # Errors
    /// [`Error::Deadline`], with the nodes that are not.
    pub async fn nodes_ready(&self, deadline: Duration) -> Result<()> {
        let api: Api<NodeObject> = Api::all(self.kube().await?);
        let wanted: Vec<_> = self.nodes().map(|node| node.name()).collect();
        eventually(deadline, "every node Ready", async || {
            let nodes = api.list(&ListParams::default()).await?;
            let ready: Vec<_> = nodes.iter().filter(|node| is_ready(node)).map(ResourceExt::name_any).collect();
            let missing: Vec<_> = wanted.iter().filter(|name| !ready.contains(name)).collect();
            if missing.is_empty() { Ok(()) } else { Err(Error::Refused(format!("not Ready: {missing:?}"))) }
        })
        .await
    }

    /// Waits until every node has a BGP session with the router in both families.
    ///
    /// # Errors
    /// [`Error::Deadline`], with the sessions that there are.
    pub async fn peered(&self, deadline: Duration) -> Result<()> {
        let wanted: BTreeSet<IpAddr> =
            self.nodes().flat_map(|node| [node.id().ipv4().into(), node.id().ipv6().into()]).collect();
        eventually(deadline, "BGP sessions of all nodes with the router", async || match self.router().sessions() {
            Ok(sessions) if sessions == wanted => Ok(()),
            Ok(sessions) => Err(format!("{sessions:?}")),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// Waits until exactly one agent runs on each node and is ready.
    ///
    /// # Errors
    /// [`crate::Error::Deadline`] with the state of the first that is not.
    pub async fn agents_ready(&self, deadline: Duration) -> Result<()> {
        eventually(deadline, "all agents ready", async || {
            self.nodes().try_for_each(|node| {
                let named = |error: crate::Error| format!("{}: {error}", node.name());
                node.agent_pid().map_err(named)?;
                node.agent_page("/readyz").map(drop).map_err(named)
            })
        })
        .await
    }
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
