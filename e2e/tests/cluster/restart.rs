//! Restarts move nothing and lose nothing.

use std::net::IpAddr;
use std::time::Duration;

use e2e::{Family, NAMESPACE, eventually};
use serde_json::Value;

use crate::support::{Applied, DEADLINE, Space, installed, object};

/// A Service with routed addresses, and its addresses.
async fn routed(space: &Space<'_>, name: &str) -> Vec<IpAddr> {
    let groups = ("purelb.io/service-group", "ipv4-routed,ipv6-routed");
    space.service(name, &[groups], &[("ipFamilyPolicy", "RequireDualStack")]);
    space.addresses(name, 2).await
}

fn version(space: &Space<'_>, name: &str) -> Value {
    object(space.cluster, &["service", name, "--namespace", space.name])["metadata"]["resourceVersion"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_allocator_changes_nothing_and_goes_on() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = Space::new(&cluster, "allocator-restart");
    let before = routed(&space, "before").await;
    let untouched = version(&space, "before");

    let pods = [
        "delete",
        "pods",
        "--namespace",
        NAMESPACE,
        "--selector",
        "component=allocator",
        "--grace-period=0",
        "--force",
    ];
    cluster.kubectl(&pods).unwrap();
    cluster.installation_ready().unwrap();
    let after = routed(&space, "after").await;
    assert!(after.iter().all(|address| !before.contains(address)), "{before:?} {after:?}");
    assert_eq!(space.addresses("before", 2).await, before);
    assert_eq!(version(&space, "before"), untouched, "the restarted allocator wrote to a Service that was all right");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_dies_the_other_replica_allocates() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = Space::new(&cluster, "leader-death");
    routed(&space, "before").await;
    let holder =
        || object(&cluster, &["lease", "purelb-allocator", "--namespace", NAMESPACE])["spec"]["holderIdentity"].clone();
    let pod = |holder: &Value| holder.as_str().unwrap_or_default().split('_').next().unwrap_or_default().to_owned();
    let leader = pod(&holder());
    // Without a word to anybody, and for good: the pod is replaced by another one.
    let arguments = ["delete", "pod", &leader, "--namespace", NAMESPACE, "--grace-period=0", "--force"];
    let node = object(&cluster, &["pod", &leader, "--namespace", NAMESPACE])["spec"]["nodeName"].clone();
    let node = cluster.nodes().find(|host| host.name() == node.as_str().unwrap()).unwrap();
    let environment = format!("HOSTNAME={leader}");
    for pid in node.processes("allocator").unwrap() {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|variable| variable == environment.as_bytes()) {
            node.kill(pid, e2e::Signal::SIGKILL).unwrap();
        }
    }
    cluster.kubectl(&arguments).unwrap();
    routed(&space, "after").await;
    assert_ne!(pod(&holder()), leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_agents_keep_addresses_routes_and_answers() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _local = Applied::kustomization(&cluster, "manifests/samples/local");
    let space = Space::new(&cluster, "agent-restart");
    let addresses = routed(&space, "routed").await;
    space.service("local", &[], &[]);
    let local = space.addresses("local", 1).await[0];
    for address in addresses.iter().chain([&local]) {
        space.answers(*address).await;
    }
    eventually(DEADLINE, "routes by way of every node", async || {
        let routes = cluster.router().routes(Family::V6).map_err(|error| error.to_string())?;
        if routes.iter().all(|route| route.next_hops.len() == 3) && routes.len() == 1 {
            Ok(())
        } else {
            Err(format!("{routes:?}"))
        }
    })
    .await
    .unwrap();

    let monitor = cluster.client().monitor(local).unwrap();
    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, "daemonset/lbnodeagent"]).unwrap();
    let restarted = std::thread::scope(|scope| {
        let wait = scope.spawn(|| cluster.installation_ready());
        // Looked at all the while, not only at the end.
        while !wait.is_finished() {
            for family in Family::ALL {
                let routes = cluster.router().routes(family).unwrap();
                assert!(routes.len() == 1 && routes[0].next_hops.len() == 3, "{routes:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        wait.join().unwrap()
    });
    restarted.unwrap();
    let record = monitor.stop().unwrap();
    assert_eq!(record.macs().len(), 1, "the address moved: {:?}", record.macs());
    assert!(record.longest_gap().1 < Duration::from_millis(500), "no answer for {:?}", record.longest_gap().1);
    for address in addresses.iter().chain([&local]) {
        space.answers(*address).await;
    }
}
