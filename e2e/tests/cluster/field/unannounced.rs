//! Addresses that nobody can announce: said where the user looks, with the reason.

use std::time::{Duration, Instant};

use e2e::{
    Family, NAMESPACE, Node,
    testing::{
        Applied, Undo, Watched, delete_events, endpoint_slice, events, group_object, installed, object, service_object,
        wait_for_condition, wait_for_event, wait_for_no_condition,
    },
};
use serde_json::json;

const NOT_ANNOUNCED: &str = "purelb.io/NotAnnounced";

/// The label that takes a node out of load balancing.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The event comes within 5 s. The rest is for a machine that does other things too.
const SOON: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn case_08_a_local_pool_where_no_node_is() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "nowhere");
    let group = group_object("nowhere", "local", &[("192.168.77.200/29", "192.168.77.0/24")]).to_string();
    let _group = Applied::yaml(&cluster, &group);
    let service = service_object("nowhere", &[("service-group", "nowhere")], &json!({})).to_string();
    let _service = Applied::yaml(&cluster, &service);
    let address = cluster.service_addresses("default", "nowhere", 1).await.unwrap()[0];
    let given = Instant::now();
    wait_for_event(&cluster, "default", "nowhere", "NotAnnounced", &address.to_string()).await;
    assert!(given.elapsed() < SOON, "the event came after {:?}", given.elapsed());
    wait_for_condition(&cluster, &["service", "nowhere"], NOT_ANNOUNCED, "no node").await;
    let named = ["servicegroup", "nowhere", "--namespace", NAMESPACE];
    wait_for_condition(&cluster, &named, "NoNodeInSubnet", "192.168.77.").await;

    // A node that comes into the network announces it, and what was said is taken back.
    let node = cluster.node(1);
    let _network = Undo::address(&node, "192.168.77.2/24", "eth0");
    wait_for_no_condition(&cluster, &["service", "nowhere"], NOT_ANNOUNCED).await;
    wait_for_no_condition(&cluster, &named, "NoNodeInSubnet").await;
    Watched::new(&cluster, [address]).answered_by(|[mac]| mac == node.mac()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_endpoints_only_where_no_agent_may_announce() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "excluded");
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let node: Node = cluster.node(3);
    let (name, removal) = (node.name(), format!("{EXCLUDED}-"));
    let set = format!("{EXCLUDED}=");
    let excluded = Undo::kubectl(&cluster, &["label", "node", &name, &set], &["label", "node", &name, &removal]);
    let _endpoints = Applied::yaml(&cluster, &endpoint_slice("excluded", Family::V4, &[Some(&node)]).to_string());
    let policy = json!({"externalTrafficPolicy": "Local"});
    let _service = Applied::yaml(&cluster, &service_object("excluded", &[], &policy).to_string());
    let address = cluster.service_addresses("default", "excluded", 1).await.unwrap()[0];
    let given = Instant::now();
    wait_for_event(&cluster, "default", "excluded", "NotAnnounced", &name).await;
    assert!(given.elapsed() < SOON, "the event came after {:?}", given.elapsed());
    wait_for_condition(&cluster, &["service", "excluded"], NOT_ANNOUNCED, &name).await;
    drop(excluded);
    wait_for_no_condition(&cluster, &["service", "excluded"], NOT_ANNOUNCED).await;
    Watched::new(&cluster, [address]).answered_by(|[mac]| mac == node.mac()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_when_all_is_well() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "well");
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    let _service = Applied::yaml(&cluster, &service_object("well", &[], &dual).to_string());
    cluster.service_addresses("default", "well", 2).await.unwrap();
    tokio::time::sleep(SOON).await;
    let said = events(&cluster, "default", "well").unwrap();
    // The API server looks through all cluster IPs now and then, and reports one that was given while it looked.
    let good = ["AddressAssigned", "AnnouncingLocal", "ClusterIPNotAllocated"];
    assert!(said.iter().all(|(reason, _)| good.contains(&reason.as_str())), "{said:?}");
    let conditions = object(&cluster, &["service", "well"])["status"]["conditions"].clone();
    assert!(conditions.as_array().is_none_or(Vec::is_empty), "{conditions}");
}
