//! Makes the cluster ready, and starts this program again in the control plane's network namespace.

use e2e::BenchResult as Result;
use std::{env, fs, path::Path, process::Command};

use e2e::{Cluster, HostId};
use serde_json::{Value, json};

use crate::arguments::Arguments;

/// The namespace of the Services.
pub(super) const SPACE: &str = "bench";

/// The API server as seen from its own network namespace.
const SERVER: &str = "https://127.0.0.1:6443";

/// More addresses than Services.
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: bench}
---
apiVersion: purelb.io/v2
kind: ServiceGroup
metadata: {name: default, namespace: purelb}
spec: {remote: {v4pool: {pool: 10.128.0.0/16, subnet: 10.128.0.0/16, aggregation: /32}}}
";

/// Makes the cluster ready and runs the measurements in the control plane's network.
pub(super) fn prepare(arguments: &Arguments) -> Result<()> {
    let cluster = Cluster::attach(&arguments.cluster)?;
    // Other benchmarks measure what kube-proxy and the agents use.
    for node in cluster.nodes() {
        node.power_off()?;
    }
    cluster.apply_kustomization("manifests")?;
    cluster.kubectl(&["scale", "--namespace", e2e::NAMESPACE, "--replicas=0", "deployment/allocator"])?;
    cluster.apply(OBJECTS)?;
    let token = cluster.kubectl(&["create", "token", "allocator", "--namespace", e2e::NAMESPACE, "--duration=24h"])?;

    let directory = cluster.layout().directory().join("bench");
    fs::create_dir_all(&directory)?;
    let file: Value = serde_yaml_ng::from_str(&fs::read_to_string(cluster.kubeconfig())?)?;
    write_kubeconfig(&directory.join("admin"), file.clone(), None)?;
    write_kubeconfig(&directory.join("allocator"), file, Some(token.trim()))?;

    let status = Command::new("ip")
        .args(["netns", "exec", &cluster.layout().namespace(HostId::Control)])
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .arg("--inside")
        .arg(&directory)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("the measurements ended with {status}").into()) }
}

fn write_kubeconfig(path: &Path, mut file: Value, token: Option<&str>) -> Result<()> {
    for (pointer, value) in [("/clusters/0/cluster/server", Some(SERVER)), ("/users/0/user/token", token)] {
        if let (Some(place), Some(value)) = (file.pointer_mut(pointer), value) {
            *place = json!(value);
        }
    }
    fs::write(path, serde_json::to_vec_pretty(&file)?)?;
    Ok(())
}
