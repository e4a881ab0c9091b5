//! The control plane: etcd, API server, controller manager, scheduler, the forwarder for the machine, and calico-node's
//! part.

use serde_json::{Value, json};

use crate::cluster::specs::{
    networks::{PODS, SERVICES, pod_networks, routes_to_pods},
    shape::ClusterShape,
};
use crate::{
    hosts::spec::{HostSpec, Service},
    kubernetes::credentials::User,
    topology::host_id::HostId,
};

const ETCD: &str = "http://127.0.0.1:2379";

pub(crate) fn spec(shape: ClusterShape<'_>) -> HostSpec {
    let layout = shape.layout;
    let mut spec = HostSpec::new(layout, HostId::Control, shape.programs).on_the_lan().routed();
    // The API server calls webhooks by cluster IP or by pod address; any node's kube-proxy leads to the former.
    spec.network.extend((1..=shape.nodes).flat_map(routes_to_pods));
    let (mut v4, mut v6) = ("route add 10.96.0.0/16".to_owned(), "route add fd00:10:96::/112".to_owned());
    for node in (1..=shape.nodes).map(HostId::Node) {
        v4.extend([" nexthop via ", &node.ipv4().to_string()]);
        v6.extend([" nexthop via ", &node.ipv6().to_string()]);
    }
    spec.network.extend([v4, v6]);

    let api = |service: Service| service.after(layout.api_ready());
    let mut way_in = Service::lab("forward", "127.0.0.1:6443");
    way_in.takes_listener = true;
    spec.services = vec![
        etcd(),
        api_server(shape),
        way_in,
        api(controller_manager(shape)),
        api(Service::kubernetes(
            "kube-scheduler",
            [format!("--kubeconfig={}", User::Scheduler.kubeconfig(layout).display()), "--leader-elect=false".into()],
        )),
        Service::lab("calico", layout.name()).after(layout.calico_ready()),
    ];
    spec
}

fn etcd() -> Service {
    // Its data is in the host's own /var/lib, which is memory: quick, and gone with the host.
    Service::kubernetes(
        "etcd",
        [
            "--data-dir=/var/lib/etcd",
            "--unsafe-no-fsync",
            &format!("--listen-client-urls={ETCD}"),
            &format!("--advertise-client-urls={ETCD}"),
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
            "--quota-backend-bytes=4294967296",
        ]
        .map(str::to_owned),
    )
}

fn api_server(shape: ClusterShape<'_>) -> Service {
    let pki = |file: &str| shape.layout.pki().join(file).display().to_string();
    Service::kubernetes(
        "kube-apiserver",
        [
            format!("--etcd-servers={ETCD}"),
            "--secure-port=6443".into(),
            format!("--advertise-address={}", HostId::Control.ipv4()),
            format!("--tls-cert-file={}", pki("server.crt")),
            format!("--tls-private-key-file={}", pki("server.key")),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            format!("--token-auth-file={}", pki("tokens.csv")),
            format!("--service-account-key-file={}", pki("service-account.key")),
            format!("--service-account-signing-key-file={}", pki("service-account.key")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--allow-privileged".into(),
            "--kubelet-preferred-address-types=InternalIP".into(),
        ],
    )
}

fn controller_manager(shape: ClusterShape<'_>) -> Service {
    let pki = |file: &str| shape.layout.pki().join(file).display().to_string();
    Service::kubernetes(
        "kube-controller-manager",
        [
            format!("--kubeconfig={}", User::ControllerManager.kubeconfig(shape.layout).display()),
            format!("--service-account-private-key-file={}", pki("service-account.key")),
            format!("--root-ca-file={}", pki("ca.crt")),
            "--use-service-account-credentials".into(),
            // Each node's part is written in its object, see `node_object`.
            "--allocate-node-cidrs=false".into(),
            format!("--cluster-cidr={PODS}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--leader-elect=false".into(),
            "--kube-api-qps=200".into(),
            "--kube-api-burst=400".into(),
        ],
    )
}

/// The Node object that a kubelet finds when it registers: the pod networks in it are those the routes are made for.
pub(crate) fn node_object(number: u8) -> Value {
    let [v4, v6] = pod_networks(number);
    let name = HostId::Node(number).to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {"podCIDR": v4, "podCIDRs": [v4, v6]},
    })
}
