//! The cluster under test, and what the events do to it: labels, configuration, pods.

use e2e::BenchResult as Result;
use std::{net::IpAddr, time::Duration};

use api_types::{
    LBNodeAgent,
    names::{EXCLUDE_NODE_LABEL, annotation::REBALANCE},
};
use e2e::{Acceptor, Cluster, Mac, NAMESPACE, Node};
use k8s_openapi::api::core::v1::{Event, Node as NodeObject, Service};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::service::{SERVICE, SPACE};

/// The deadline for what has to be restored after a run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The name of the LBNodeAgent of the events that need one.
const AGENT_CONFIG: &str = "bench";

/// The label for [`Bench::choose_agents_nodes`].
pub(crate) const AGENTS: &str = "bench-agent";

/// The cluster and the Service.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) kube: Client,
    /// The addresses of the Service.
    pub(crate) addresses: [IpAddr; 2],
    /// For how long a node is kept busy.
    pub(crate) busy: Duration,
    /// Accepts the client's connections until it is dropped.
    pub(crate) _backend: Acceptor,
}

impl Bench {
    /// Restores the cluster after a failed run.
    pub(crate) async fn restore(&self) -> Result<()> {
        self.cluster.undo_faults()?;
        for node in self.cluster.nodes() {
            self.exclude(&node, false).await?;
        }
        self.without_agent_config().await?;
        self.choose_agents_nodes(&Value::Null)?;
        self.cluster.nodes_ready(PATIENCE).await?;
        self.cluster.agents_ready(PATIENCE).await?;
        Ok(())
    }

    /// The node with this MAC.
    pub(crate) fn node_of(&self, mac: Mac) -> Result<Node> {
        self.cluster.nodes().find(|node| node.mac() == mac).ok_or_else(|| format!("{mac} is no node's").into())
    }

    /// The heirs of this node: the other nodes, in the order of candidates of the addresses.
    pub(crate) fn heirs(&self, owner: &Node) -> impl Iterator<Item = Node> {
        let [address, _] = self.addresses;
        let owner = owner.id();
        self.cluster.order(address).into_iter().filter(move |node| node.id() != owner)
    }

    /// The first of [`Self::heirs`].
    pub(crate) fn heir(&self, owner: &Node) -> Result<Node> {
        self.heirs(owner).next().ok_or_else(|| "the cluster has one node only".into())
    }

    /// Sets or removes the label that takes a node out of load balancing.
    pub(crate) async fn exclude(&self, node: &Node, excluded: bool) -> Result<()> {
        self.label(node, EXCLUDE_NODE_LABEL, excluded.then_some("")).await
    }

    /// Sets or removes a label of a node.
    pub(crate) async fn label(&self, node: &Node, name: &str, value: Option<&str>) -> Result<()> {
        let patch = json!({"metadata": {"labels": {name: value}}});
        let nodes: Api<NodeObject> = Api::all(self.kube.clone());
        nodes.patch(&node.name(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Requests that the Service's addresses move to their first candidate.
    pub(crate) async fn rebalance(&self) -> Result<()> {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis().to_string();
        let patch = json!({"metadata": {"annotations": {REBALANCE: time}}});
        let services: Api<Service> = Api::namespaced(self.kube.clone(), SPACE);
        services.patch(SERVICE, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// An LBNodeAgent for all nodes but one.
    pub(crate) async fn agent_config(&self, without: Option<&Node>, local: &Value) -> Result<()> {
        let without = without.map_or_else(|| "nobody".to_owned(), |node| node.name());
        let selector = json!({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [without]});
        let object = json!({
            "apiVersion": "purelb.io/v2",
            "kind": "LBNodeAgent",
            "metadata": {"name": AGENT_CONFIG, "namespace": NAMESPACE},
            "spec": {"nodeSelector": {"matchExpressions": [selector]}, "local": local},
        });
        // Without starting `kubectl`, which would take processor time from the programs under test.
        let parameters = PatchParams::apply("bench").force();
        self.agent_configs().patch(AGENT_CONFIG, &parameters, &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Deletes the LBNodeAgent of [`Self::agent_config`].
    pub(crate) async fn without_agent_config(&self) -> Result<()> {
        match self.agent_configs().delete(AGENT_CONFIG, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(drop).map_err(Into::into),
        }
    }

    fn agent_configs(&self) -> Api<LBNodeAgent> {
        Api::namespaced(self.kube.clone(), NAMESPACE)
    }

    /// Restricts the agents to nodes whose label [`AGENTS`] has this value. `null` removes the restriction.
    pub(crate) fn choose_agents_nodes(&self, value: &Value) -> Result<()> {
        let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {AGENTS: value}}}}}).to_string();
        self.cluster.kubectl(&["patch", "daemonset", "lbnodeagent", "--namespace", NAMESPACE, "--patch", &patch])?;
        self.cluster.installation_ready()?;
        Ok(())
    }

    /// Replaces the agent's pod on a node. The kubelet's delay for restarts ends with the old pod.
    pub(crate) fn new_agent_pod(&self, node: &Node) -> Result<()> {
        let field = format!("spec.nodeName={}", node.name());
        let selection = ["--namespace", NAMESPACE, "--selector", "component=lbnodeagent", "--field-selector", &field];
        self.cluster.kubectl(&[&["delete", "pods", "--timeout=60s"], &selection[..]].concat())?;
        Ok(())
    }

    /// The messages of all events with this reason about an object of our namespace.
    pub(crate) async fn events(&self, object: &str, reason: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.kube.clone(), SPACE);
        let selector = format!("involvedObject.name={object},reason={reason}");
        let list = events.list(&ListParams::default().fields(&selector)).await?;
        Ok(list.items.into_iter().filter_map(|event| event.message).collect())
    }
}
