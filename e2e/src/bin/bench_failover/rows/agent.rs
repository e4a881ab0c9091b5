//! Agents killed, stopped, replaced.

use e2e::BenchResult as Result;
use std::time::{Duration, Instant};

use e2e::{NAMESPACE, Node, eventually};
use serde_json::{Value, json};

use crate::rows::steps::{AFTERWARDS, NOBODY, TAKEOVER, pass};
use crate::{
    bench::{AGENTS, Bench},
    figures::{Sample, first_wrong_if},
};

/// The owner's agent is killed and started again by the kubelet.
pub(super) async fn kill(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let from = Instant::now();
    let old = owner.crash_agent()?;
    eventually(Duration::from_secs(60), "another agent's process", async || match owner.agent_pid() {
        Ok(pid) if pid != old => Ok(()),
        Ok(_) => Err("it is there yet".to_owned()),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    bench.cluster.agents_ready(Duration::from_secs(60)).await?;
    let to = pass(AFTERWARDS).await;
    let samples = watch.end(&[("kill", from, to)]);
    // The kubelet waits longer each time before it restarts a container. A new pod starts without that delay.
    bench.new_agent_pod(&owner)?;
    samples
}

/// All agents are replaced, one after the other.
pub(super) async fn rollout(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let from = Instant::now();
    bench.cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, "daemonset/lbnodeagent"])?;
    bench.cluster.installation_ready()?;
    let to = pass(AFTERWARDS).await;
    watch.end(&[("rollout", from, to)])
}

/// The owner's agent is suspended for 20 s, which is too short for the kubelet to kill it.
pub(super) async fn pause(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let from = Instant::now();
    let frozen = watch.owner()?.freeze_agent()?;
    pass(Duration::from_secs(20)).await;
    drop(frozen);
    let to = pass(AFTERWARDS).await;
    watch.end(&[("pause", from, to)])
}

/// The owner's agent is suspended, so that it cannot hand its addresses over, and its pod is removed from the node. The
/// lifetime of addresses is 60 s.
pub(super) async fn gone(bench: &Bench) -> Result<Vec<Sample>> {
    for node in bench.cluster.nodes() {
        bench.label(&node, AGENTS, Some("yes")).await?;
    }
    bench.agent_config(None, &json!({"addressConfig": {"localInterface": {"validLifetime": 60}}})).await?;
    bench.choose_agents_nodes(&json!("yes"))?;
    let samples = gone_for_good(bench).await;
    for node in bench.cluster.nodes() {
        bench.label(&node, AGENTS, None).await?;
    }
    bench.choose_agents_nodes(&Value::Null)?;
    bench.without_agent_config().await?;
    samples
}

async fn gone_for_good(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let left = eventually(Duration::from_secs(60), "lifetimes of at most 60 s", async || {
        let left = lifetime(bench, &owner).map_err(|error| error.to_string())?;
        if left <= Duration::from_secs(60) { Ok(left) } else { Err(format!("{left:?}")) }
    })
    .await?;
    let frozen = owner.freeze_agent()?;
    let from = Instant::now();
    bench.label(&owner, AGENTS, None).await?;
    let taken = watch.taken_over(Duration::from_secs(60) + TAKEOVER).await;
    let lasted = from.elapsed();
    drop(frozen);
    let to = pass(AFTERWARDS).await;
    let note = format!("with {} s left; another answered steadily after {:.1} s", left.as_secs(), lasted.as_secs_f64());
    let samples = watch.end(&[("gone", from, to)])?.into_iter().map(|sample| sample.noted(&note)).collect();
    Ok(first_wrong_if(!taken, NOBODY, samples))
}

/// The remaining lifetime of the addresses in the owner's kernel.
fn lifetime(bench: &Bench, owner: &Node) -> Result<Duration> {
    let held = owner.addresses("eth0")?.into_iter().filter(|held| bench.addresses.contains(&held.address));
    Ok(held.map(|held| held.valid_for.unwrap_or(Duration::MAX)).max().ok_or("it holds none of the addresses")?)
}
