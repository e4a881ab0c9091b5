//! Addresses from an IPAM sidecar. The allocator runs outside the cluster, where the tests can reach its socket; only
//! the last test runs both in the allocator's pod, as a user does.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use api_types::names::OWED_RECORD;
use e2e::{
    Cluster, NAMESPACE, Signal, checkout, eventually,
    testing::{DEADLINE, Replica, Undo, WithoutAllocator, installed},
};
use ipam::habits::Habit;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Api;
use serde_json::{Value, json};

use crate::support::{
    fixture::{Fixture, group, remote},
    replicas::cluster_kubeconfig,
    sidecar::{Sidecar, SidecarFiles},
};

/// How long an upgrade may take while a node is away. That the node is away is known after 40 s.
const UPGRADE: Duration = Duration::from_secs(120);

pub(crate) fn external(place: &SidecarFiles) -> Value {
    json!({"external": {"provider": "example", "socket": place.socket(), "announce": "remote"}})
}

pub(crate) async fn leading(cluster: &Cluster, name: &str) -> Replica {
    let replica = Replica::start(cluster, name, &cluster_kubeconfig(cluster)).unwrap();
    replica.leading(DEADLINE).await.unwrap();
    replica
}

/// Waits until the record of what is owed has the text, or has it no more.
pub(crate) async fn recorded(fixture: &Fixture<'_>, text: &str, is_there: bool) {
    let records: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), NAMESPACE);
    eventually(DEADLINE, format!("a record with {text:?}: {is_there}"), async || {
        let record = records.get(OWED_RECORD).await.map_err(|error| error.to_string())?;
        let data = record.data.unwrap_or_default();
        if data.values().any(|value| value.contains(text)) == is_there { Ok(()) } else { Err(format!("{data:?}")) }
    })
    .await
    .unwrap();
}

/// Waits until the sidecar has this many leases.
pub(crate) async fn leases(sidecar: &Sidecar, count: usize) {
    eventually(DEADLINE, format!("{count} leases"), async || {
        let leases = sidecar.allocations();
        if leases.len() == count { Ok(()) } else { Err(format!("{leases:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn external_addresses_come_and_go_back() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "ext").await;
    let place = SidecarFiles::new(&cluster, "ext", &["198.51.100.16/29", "2001:db8:51::10/125"]);
    let sidecar = place.run();
    fixture.group("ext", external(&place)).await;
    let replica = leading(&cluster, "ext").await;
    fixture.condition("ext", "Ready", "True", "example").await;
    for (name, families) in
        [("both", json!(["IPv4", "IPv6"])), ("typed", json!(["IPv4"])), ("edited", json!(["IPv4", "IPv6"]))]
    {
        let policy = if families.as_array().unwrap().len() == 2 { "RequireDualStack" } else { "SingleStack" };
        fixture.create(name, &[group("ext")], json!({"ipFamilies": families, "ipFamilyPolicy": policy})).await;
        fixture.cluster.service_addresses(&fixture.namespace, name, families.as_array().unwrap().len()).await.unwrap();
    }
    fixture.has("both", &["198.51.100.16", "2001:db8:51::10"]).await;
    assert_eq!(fixture.annotation("both", "allocated-from").await.as_deref(), Some("ext"));
    assert_eq!(fixture.annotation("both", "pool-type").await.as_deref(), Some("remote"));
    // All that is kept comes from one kind of write.
    let writes = fixture.service("both").await.metadata.managed_fields.unwrap();
    assert_eq!(writes.iter().filter(|entry| entry.manager.as_deref() == Some("purelb-allocator")).count(), 1);
    let counts = json!({
        "ipam": "example", "announce": "Remote", "allocatedIPv4": 3, "allocatedIPv6": 2, "availableIPv4": 5, "availableIPv6": 6,
        "addresses": ["198.51.100.16-198.51.100.23", "2001:db8:51::10-2001:db8:51::17"],
    });
    fixture.group_status("ext", &counts).await;
    let metrics = replica.metrics().unwrap();
    for series in [
        "purelb_address_pool_size{pool=\"ext\"} 16",
        "purelb_address_pool_addresses_in_use{pool=\"ext\"} 5",
        "purelb_allocator_sidecar_releases_pending{pool=\"ext\"} 0",
    ] {
        assert!(metrics.lines().any(|line| line == series), "no {series}:\n{metrics}");
    }
    let calls = format!(
        "purelb_allocator_sidecar_rpc_total{{code=\"OK\",method=\"/purelb.ipam.v1.IPAM/Allocate\",socket={:?}}} 3",
        place.socket()
    );
    assert!(metrics.contains(&calls), "no {calls}:\n{metrics}");
    assert!(metrics.contains("purelb_allocator_sidecar_rpc_duration_seconds_bucket"));
    // Away with them, each in its own way.
    fixture.edit("edited", json!({"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}})).await;
    fixture.has("edited", &["198.51.100.18"]).await;
    fixture.edit("typed", json!({"spec": {"type": "ClusterIP"}})).await;
    fixture.delete("both").await;
    leases(&sidecar, 1).await;
    let begin = Instant::now();
    fixture.group_status("ext", &json!({"allocatedIPv4": 1, "allocatedIPv6": 0})).await;
    // The status follows within two seconds, and a look takes a moment.
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    fixture.edit("typed", json!({"spec": {"type": "LoadBalancer"}})).await;
    fixture.has("typed", &["198.51.100.16"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_sidecar_that_is_not_there_or_hangs_stops_nobody_else() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "absent").await;
    let place = SidecarFiles::new(&cluster, "absent", &["198.51.100.32/29"]);
    fixture.group("absent", external(&place)).await;
    fixture.group("absent-own", remote("203.0.113.0/28")).await;
    let _replica = leading(&cluster, "absent").await;
    fixture.condition("absent", "Ready", "False", "there is no socket").await;
    fixture.allocation_fails("waits", "absent", "Unavailable").await;
    let own = async |name: &str| {
        let begin = Instant::now();
        fixture.create(name, &[group("absent-own")], json!({})).await;
        fixture.cluster.service_addresses(&fixture.namespace, name, 1).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(2), "{name} took {:?}", begin.elapsed());
    };
    own("one").await;
    // It comes.
    let sidecar = place.run();
    fixture.has("waits", &["198.51.100.32"]).await;
    fixture.condition("absent", "Ready", "True", "answers").await;
    // It hangs, and others are served as ever.
    sidecar.set(Some(Habit::Hangs));
    for number in 0..20 {
        fixture.create(&format!("hangs-{number}"), &[group("absent")], json!({})).await;
    }
    own("two").await;
    fixture.fails("hangs-7", "no answer within 10s").await;
    // It gives its numbers, so only the Services wait that it does not answer.
    fixture.condition("absent", "Ready", "True", "answers").await;
    own("three").await;
    // It goes and comes, with what it knew.
    drop(sidecar);
    let sidecar = place.run();
    leases(&sidecar, 8).await;
    fixture.has("waits", &["198.51.100.32"]).await;
    fixture.condition("absent", "Ready", "True", "answers").await;
    // It has no more than eight: the others get an event.
    eventually(DEADLINE, "somebody who is told that nothing is left", async || {
        for number in 0..20 {
            let events = fixture.events(&fixture.namespace, &format!("hangs-{number}"), "AllocationFailed").await;
            if events.iter().any(|event| event.message.as_ref().is_some_and(|it| it.contains("ResourceExhausted"))) {
                return Ok(());
            }
        }
        Err("nobody")
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn external_address_that_is_in_use_is_refused_and_given_back() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "twice").await;
    let place = SidecarFiles::new(&cluster, "twice", &["198.51.100.48/29"]);
    let sidecar = place.run();
    fixture.group("twice", external(&place)).await;
    fixture.group("twice-own", remote("203.0.113.0/28")).await;
    let _replica = leading(&cluster, "twice").await;
    fixture.allocate("first", "twice", "198.51.100.48").await;
    sidecar.set(Some(Habit::Gives("198.51.100.48".to_owned())));
    fixture.allocation_fails("second", "twice", "which another Service has").await;
    sidecar.set(Some(Habit::Gives("203.0.113.3".to_owned())));
    fixture.allocation_fails("third", "twice", "lies in 203.0.113.0/28 of pool \"twice-own\"").await;
    sidecar.set(None);
    for name in ["second", "third"] {
        fixture.cluster.service_addresses(&fixture.namespace, name, 1).await.unwrap();
    }
    fixture.has("first", &["198.51.100.48"]).await;
    leases(&sidecar, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_release_is_remembered_over_a_kill_of_the_allocator() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "owes").await;
    let place = SidecarFiles::new(&cluster, "owes", &["198.51.100.64/29"]);
    fixture.group("owes", external(&place)).await;
    let first = leading(&cluster, "owes").await;
    {
        let _sidecar = place.run();
        // Calls for two Services go at the same time.
        fixture.allocate("gone", "owes", "198.51.100.64").await;
        fixture.allocate("stays", "owes", "198.51.100.65").await;
    }
    fixture.delete("gone").await;
    fixture
        .group_status("owes", &json!({"pendingReleases": [{"service": format!("{}/gone", fixture.namespace)}]}))
        .await;
    fixture.condition("owes", "ReleasesPending", "True", "/gone").await;
    recorded(&fixture, "/gone", true).await;
    first.signal(Signal::SIGKILL).unwrap();
    // The group goes too: the record has what is owed, and where.
    fixture.delete_group("owes").await;
    let _second = leading(&cluster, "owes-again").await;
    let sidecar = place.run();
    leases(&sidecar, 1).await;
    fixture.group("owes", external(&place)).await;
    fixture.group_status("owes", &json!({"pendingReleases": null})).await;
    fixture.has("stays", &["198.51.100.65"]).await;
}

/// Brings the usual installation back.
fn usual_installation(cluster: &Cluster) -> Undo<'_> {
    Undo::new(|| {
        cluster.kubectl(&["delete", "servicegroup", "--ignore-not-found", "--namespace", NAMESPACE, "external"])?;
        cluster.apply_kustomization("manifests")?;
        cluster.installation_ready()
    })
}

/// Case 102: with `Recreate` no allocator runs until the node is back.
#[tokio::test(flavor = "multi_thread")]
async fn external_upgrade_while_a_node_is_away_leaves_an_allocator() {
    let cluster = installed().await;
    cluster.load_image(&checkout("target/images/ipam-sidecar.tar")).unwrap();
    let fixture = Fixture::new(&cluster, "away").await;
    let usual = usual_installation(&cluster);
    cluster.apply_kustomization("manifests/samples/external-ipam").unwrap();
    cluster.installation_ready().unwrap();
    fixture.condition("external", "Ready", "True", "example").await;
    let of_leader = fixture.leader().await.spec.unwrap().node_name.unwrap();
    let node = cluster.nodes().find(|node| node.id().to_string() == of_leader).unwrap();
    node.power_off().unwrap();
    let off = Undo::new(|| node.power_on());
    let label = json!({"spec": {"template": {"metadata": {"labels": {"edited": "true"}}}}}).to_string();
    cluster.kubectl(&["patch", "--namespace", NAMESPACE, "deployment/allocator", "--patch", &label]).unwrap();
    fixture.create("web", &[group("external")], json!({})).await;
    eventually(UPGRADE, "an allocator of the edited template that leads", async || {
        let leader = fixture.leader().await.metadata;
        let edited = leader.labels.is_some_and(|labels| labels.contains_key("edited"));
        if edited { Ok(()) } else { Err(format!("{:?} leads", leader.name)) }
    })
    .await
    .unwrap();
    fixture.cluster.service_addresses(&fixture.namespace, "web", 1).await.unwrap();
    fixture.delete("web").await;
    drop(off);
    drop(usual);
}

/// The component and the sample of the manifests, as a user applies them.
#[tokio::test(flavor = "multi_thread")]
async fn external_sidecar_in_the_pod_of_the_allocator() {
    let cluster = installed().await;
    cluster.load_image(&checkout("target/images/ipam-sidecar.tar")).unwrap();
    let fixture = Fixture::new(&cluster, "in-pod").await;
    let usual = usual_installation(&cluster);
    cluster.apply_kustomization("manifests/samples/external-ipam").unwrap();
    cluster.installation_ready().unwrap();
    fixture.condition("external", "Ready", "True", "example").await;
    fixture.create("web", &[group("external")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    fixture.has("web", &["198.51.100.128", "2001:db8:51::"]).await;
    let services: Api<Service> = fixture.services();
    // The agents take it for any other routed address.
    eventually(DEADLINE, "the address on a node", async || {
        let service = services.get("web").await.map_err(|error| error.to_string())?;
        let host = cluster.nodes().next().ok_or("no node")?;
        let shown = host.addresses("kube-lb0").map_err(|error| error.to_string())?;
        let wanted: IpAddr = "198.51.100.128".parse().unwrap();
        if shown.iter().any(|address| address.address == wanted) {
            Ok(())
        } else {
            Err(format!("{shown:?} {:?}", service.metadata.annotations))
        }
    })
    .await
    .unwrap();
    fixture.delete("web").await;
    fixture.group_status("external", &json!({"allocatedIPv4": 0, "allocatedIPv6": 0})).await;
    drop(usual);
}
