//! Admission webhooks whose server says nothing.

use std::{
    collections::BTreeSet,
    net::{IpAddr, TcpListener},
    time::{Duration, Instant},
};

use api_types::service::ingress_addresses;
use e2e::{
    Cluster, NAMESPACE, eventually,
    testing::{Applied, DEADLINE, change_leader, delete_events, events, installed, object, service_object},
};
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

/// Where the silent server is, on the client.
const PORT: u16 = 8443;

/// What a webhook of Kubernetes' own default costs, and another attempt.
const PATIENCE: Duration = Duration::from_secs(45);

/// Until an agent has tried three times to renew its Lease, which it does once a minute.
const RENEWALS: Duration = Duration::from_secs(120);

/// So many Services wait when their leader dies: four times as many as it writes to at once.
const CROWD: usize = 200;

/// What webhooks are asked about: the group, the resource, and the namespace.
type About = (&'static str, &'static str, &'static str);

const STATUS: About = ("", "services/status", "default");
const LEASES: About = ("coordination.k8s.io", "leases", NAMESPACE);

/// Webhooks of a silent server on updates, each of which costs ten seconds. Validating ones are asked all at once,
/// mutating ones one after the other.
fn silent(kind: &str, name: &str, webhooks: &[&str], (group, resource, namespace): About) -> String {
    let webhooks = webhooks.iter().map(|webhook| {
        json!({
            "name": webhook,
            "clientConfig": {"url": format!("https://192.168.50.99:{PORT}/")},
            "rules": [{
                "apiGroups": [group], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": [resource],
            }],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Ignore", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 10,
        })
    });
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": webhooks.collect::<Vec<_>>(),
    })
    .to_string()
}

/// Waits until a Service in `default` has an address.
async fn allocated(cluster: &Cluster, name: &str) {
    eventually(PATIENCE, format!("an address of {name}"), async || {
        let service: Service = serde_json::from_value(object(cluster, &["service", name])).unwrap();
        if ingress_addresses(&service).is_empty() {
            Err(format!("{:?}", events(cluster, "default", name)))
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_67_a_silent_webhook_delays_and_two_of_them_are_named() {
    let cluster = installed().await;
    for name in ["delayed", "blocked"] {
        delete_events(&cluster, "default", name);
    }
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    // Its kernel accepts connections, and nobody reads them.
    let _server = cluster.client().in_network(|| TcpListener::bind(("::", PORT))).unwrap().unwrap();
    let one =
        Applied::yaml(&cluster, &silent("ValidatingWebhookConfiguration", "silent-one", &["one.example.com"], STATUS));
    let begin = Instant::now();
    let _delayed = Applied::yaml(&cluster, &service_object("delayed", &[], &json!({})).to_string());
    allocated(&cluster, "delayed").await;
    println!("allocated after {:?}", begin.elapsed());
    drop(one);

    let chain = ["first.example.com", "second.example.com"];
    let two = Applied::yaml(&cluster, &silent("MutatingWebhookConfiguration", "silent-chain", &chain, STATUS));
    let _blocked = Applied::yaml(&cluster, &service_object("blocked", &[], &json!({})).to_string());
    eventually(PATIENCE, "an event that names the webhooks", async || {
        let events = events(&cluster, "default", "blocked").map_err(|error| error.to_string())?;
        let names = |(_, message): &(String, String)| message.contains("silent-chain");
        if events.iter().any(names) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await
    .unwrap();
    drop(two);
    allocated(&cluster, "blocked").await;
}

/// The addresses of the crowd, with those of other Services in `default`.
fn given(cluster: &Cluster) -> Vec<IpAddr> {
    let services = object(cluster, &["services"]);
    let services: Vec<Service> = serde_json::from_value(services["items"].clone()).unwrap();
    services.iter().flat_map(ingress_addresses).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_67_a_new_service_does_not_wait_for_the_fences_of_all_others() {
    let cluster = installed().await;
    let _group = Applied::yaml(
        &cluster,
        "{apiVersion: purelb.io/v2, kind: ServiceGroup, metadata: {name: crowd, namespace: purelb}, \
         spec: {remote: {v4pools: [{pool: 198.18.0.0/20, subnet: 198.18.0.0/20}]}}}",
    );
    let _server = cluster.client().in_network(|| TcpListener::bind(("::", PORT))).unwrap().unwrap();
    let webhook = silent("ValidatingWebhookConfiguration", "silent-crowd", &["crowd.example.com"], STATUS);
    let webhook = Applied::yaml(&cluster, &webhook);
    let before = given(&cluster).len();
    let service = |name: &str| service_object(name, &[("service-group", "crowd")], &json!({})).to_string();
    let crowd: Vec<String> = (0..CROWD).map(|nth| service(&format!("crowd-{nth}"))).collect();
    let _crowd = Applied::yaml(&cluster, &crowd.join("\n---\n"));
    change_leader(&cluster).await;
    let begin = Instant::now();
    let _new = Applied::yaml(&cluster, &service("new"));
    allocated(&cluster, "new").await;
    let served = given(&cluster).len() - before;
    println!("allocated after {:?}, together with {} of {CROWD} that waited", begin.elapsed(), served - 1);
    assert!(served < CROWD / 2, "the crowd was served before: {served}");
    drop(webhook);
    eventually(PATIENCE * 2, "all have addresses", async || {
        let served = given(&cluster).len() - before;
        if served == CROWD + 1 { Ok(()) } else { Err(format!("{served} of {}", CROWD + 1)) }
    })
    .await
    .unwrap();
    let all = given(&cluster);
    let distinct: BTreeSet<&IpAddr> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_67_an_agent_that_cannot_renew_its_lease_names_the_webhook() {
    let cluster = installed().await;
    let node = cluster.node(1).name();
    delete_events(&cluster, "default", &node);
    let _server = cluster.client().in_network(|| TcpListener::bind(("::", PORT))).unwrap().unwrap();
    let webhook = silent("ValidatingWebhookConfiguration", "silent-leases", &["leases.example.com"], LEASES);
    let webhook = Applied::yaml(&cluster, &webhook);
    eventually(RENEWALS, "an event that names the webhook", async || {
        let events = events(&cluster, "default", &node).map_err(|error| error.to_string())?;
        let names = |(reason, message): &(String, String)| {
            reason == "LeaseNotRenewed" && message.contains("silent-leases") && message.contains("leases.example.com")
        };
        if events.iter().any(names) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await
    .unwrap();
    drop(webhook);
    cluster.agents_ready(DEADLINE).await.unwrap();
}
