//! Programs that are replaced or crash, ours and the router's.

use std::time::{Duration, Instant};

use e2e::testing::{DEADLINE, SETTLE_TIME, installed};
use e2e::{NAMESPACE, Signal, eventually};

use super::{Followed, INTERVAL};

#[tokio::test(flavor = "multi_thread")]
async fn neither_upgrades_nor_crashes_of_agents_reset_bgp() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-restart", INTERVAL).await;
    let steady = followed.steady().await;
    let connectors = followed.connect();
    for workload in ["daemonset/bfd-speaker", "daemonset/lbnodeagent"] {
        cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, workload]).unwrap();
        cluster.installation_ready().unwrap();
        tokio::time::sleep(SETTLE_TIME).await;
        steady.assert_unchanged(workload);
    }
    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    steady.assert_unchanged("all agents crashed");
    for connector in connectors {
        let connections = connector.stop().unwrap();
        let failed = connections.failures().len();
        assert!(failed * 500 <= connections.count(), "{failed} of {} connections failed", connections.count());
    }
}

/// The kubelet needs a second or more to start a container again, so this is for routers with patience only.
#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_speaker_is_back_in_the_same_session() {
    let cluster = installed().await;
    // The speaker's multiplier makes the router wait for 6 s.
    let followed = Followed::new(&cluster, "bfd-crash", Duration::from_secs(2)).await;
    let steady = followed.steady().await;
    let victim = cluster.node(1);
    let [pid] = victim.processes("bfd-speaker").unwrap().try_into().unwrap();
    let killed = Instant::now();
    victim.kill(pid, Signal::SIGKILL).unwrap();
    eventually(DEADLINE, "another bfd-speaker", async || {
        let pids = victim.processes("bfd-speaker").map_err(|error| error.to_string())?;
        if pids.len() == 1 && pids[0] != pid { Ok(()) } else { Err(format!("{pids:?}")) }
    })
    .await
    .unwrap();
    println!("bfd-speaker runs again after {:?}", killed.elapsed());
    tokio::time::sleep(SETTLE_TIME).await;
    steady.assert_unchanged("bfd-speaker crashed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_bfd_crashes_is_followed() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-router", INTERVAL).await;
    let before = cluster.router().resets().unwrap();
    let router = cluster.router();
    let pid = router.service_pid("bfdd").unwrap();
    router.kill(pid, Signal::SIGKILL).unwrap();
    eventually(DEADLINE, "another bfdd", async || match router.service_pid("bfdd") {
        Ok(new) if new != pid => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await
    .unwrap();
    followed.all_up().await;
    cluster.peered(DEADLINE).await.unwrap();
    followed.all_used().await;
    println!("resets of BGP before {before:?} and after {:?}", router.resets().unwrap());
    let steady = followed.steady().await;
    tokio::time::sleep(SETTLE_TIME).await;
    steady.assert_unchanged("after the router's bfdd has restarted");
}
