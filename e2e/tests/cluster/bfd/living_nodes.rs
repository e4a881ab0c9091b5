//! Nodes that live, whatever else happens to them: BFD never ends their BGP sessions, which have more than our addresses.

use std::slice::from_ref;
use std::time::Duration;

use e2e::testing::{
    DEADLINE, SETTLE_TIME, Undo, delete_events, installed, wait_for_address, wait_for_event, wait_for_next_hops,
};
use e2e::{Signal, eventually};

use super::{Followed, INTERVAL};

const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_excluded_and_drained() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-drain", INTERVAL).await;
    let steady = followed.steady().await;
    let victim = cluster.node(2);
    let name = victim.name();
    let excluded = Undo::kubectl(
        &cluster,
        &["label", "node", &name, &format!("{LABEL}=")],
        &["label", "node", &name, &format!("{LABEL}-")],
    );
    for address in &followed.addresses {
        wait_for_address(from_ref(&victim), "kube-lb0", *address, false).await;
        wait_for_next_hops(&cluster, *address, cluster.nodes().filter(|node| node.id() != victim.id())).await;
    }
    steady.assert_sessions("excluded");
    let drained = Undo::kubectl(
        &cluster,
        &["drain", &name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s"],
        &["uncordon", &name],
    );
    tokio::time::sleep(SETTLE_TIME).await;
    steady.assert_sessions("drained");
    drop((drained, excluded));
    steady.assert_sessions("back");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_the_api_server() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-api", INTERVAL).await;
    let steady = followed.steady().await;
    cluster.control_plane().pause_api().unwrap();
    let paused = Undo::new(|| cluster.control_plane().resume_api());
    // What a new agent cannot read is no news.
    let victim = cluster.node(2);
    let pid = victim.crash_agent().unwrap();
    eventually(DEADLINE, "another agent", async || match victim.agent_pid() {
        Ok(new) if new != pid => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    steady.assert_unchanged("without the API server");
    drop(paused);
    cluster.agents_ready(DEADLINE).await.unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    steady.assert_unchanged("the API server is back");
}

/// BIRD has graceful restart, as with Calico. BFD does not end with it, so the router keeps the routes meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_bgp_program_restarts() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-bird", INTERVAL).await;
    let steady = followed.steady().await;
    let victim = cluster.node(2);
    let programs = ["bird", "bird6"];
    let before = programs.map(|program| victim.service_pid(program).unwrap());
    for pid in before {
        victim.kill(pid, Signal::SIGKILL).unwrap();
    }
    eventually(DEADLINE, "other processes of BIRD", async || {
        let now = programs.map(|program| victim.service_pid(program).ok());
        let started = now.iter().zip(before).all(|(now, before)| now.is_some_and(|now| now != before));
        if started { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await
    .unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    cluster.peered(DEADLINE).await.unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    steady.assert_routes("BIRD has restarted");
    steady.assert_bfd("BIRD has restarted");
}

/// Sessions are lost then, by the arithmetic of the protocol. They come back.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_behind_a_network_that_loses_packets() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-loss", INTERVAL).await;
    let before: u64 = cluster.router().resets().unwrap().values().sum();
    let lossy = cluster.drop_frames(20).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    lossy.end().unwrap();
    let lost = cluster.router().resets().unwrap().values().sum::<u64>() - before;
    println!("{lost} resets of 6 BGP sessions in 20 s with a fifth of all packets lost");
    followed.all_up().await;
    cluster.peered(DEADLINE).await.unwrap();
    followed.all_used().await;
    let steady = followed.steady().await;
    tokio::time::sleep(SETTLE_TIME).await;
    steady.assert_unchanged("the network is whole again");
}

/// Case 82: with Calico's mesh on, living nodes go on telling the router the address of a dead one. Before BFD can keep
/// what it promises, that is named, with its cure.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_pass_on_what_a_mesh_tells_them() {
    let cluster = installed().await;
    let _followed = Followed::new(&cluster, "bfd-mesh", INTERVAL).await;
    let victim = cluster.node(1);
    let exports = |wanted: &'static str| {
        let victim = &victim;
        async move {
            eventually(DEADLINE, format!("calicoExports with {wanted:?}"), async || {
                let page = victim.agent_page("/state").map_err(|error| error.to_string())?;
                if page.contains(wanted) { Ok(()) } else { Err(page) }
            })
            .await
            .unwrap();
        }
    };
    exports("\"calicoExports\":null").await;
    delete_events(&cluster, "default", &victim.name());
    let configuration = ["patch", "bgpconfigurations.crd.projectcalico.org", "default", "--type=merge", "--patch"];
    let mesh = |on: bool| format!("{{\"spec\": {{\"nodeToNodeMeshEnabled\": {on}}}}}");
    let (on, off) = (mesh(true), mesh(false));
    let meshed =
        Undo::kubectl(&cluster, &[&configuration[..], &[&on]].concat(), &[&configuration[..], &[&off]].concat());
    exports("\"calicoExports\":\"Calico's node-to-node mesh is on").await;
    wait_for_event(&cluster, "default", &victim.name(), "CalicoExports", "source: RemotePeers, action: Reject").await;
    drop(meshed);
    exports("\"calicoExports\":null").await;
}
