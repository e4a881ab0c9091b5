//! Addresses that nobody can announce: said on the group, with the subnets of the nodes.

use std::time::Duration;

use e2e::{
    NAMESPACE,
    testing::{
        Applied, Undo, Watched, delete_events, events, group_object, installed, object, service_object,
        wait_for_condition, wait_for_no_condition,
    },
};
use serde_json::json;

/// Longer than it takes to notice that nobody announces an address.
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
    let named = ["servicegroup", "nowhere", "--namespace", NAMESPACE];
    wait_for_condition(&cluster, &named, "NoNodeInSubnet", "192.168.77.").await;

    // A node that comes into the network announces it, and what was said is taken back.
    let node = cluster.node(1);
    let _network = Undo::address(&node, "192.168.77.2/24", "eth0");
    wait_for_no_condition(&cluster, &named, "NoNodeInSubnet").await;
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
    let good = ["AddressAssigned", "AnnouncingLocal"];
    assert!(said.iter().all(|(reason, _)| good.contains(&reason.as_str())), "{said:?}");
    let conditions = object(&cluster, &["service", "well"])["status"]["conditions"].clone();
    assert!(conditions.as_array().is_none_or(Vec::is_empty), "{conditions}");
}
