//! What follows where kube-proxy fails, or does not serve the node yet.

use api_types::lease::ProxyState;

use super::*;

/// Members `a` to `c` beside this node, of which these and, if it is among them, this node report that kube-proxy does not
/// serve them.
fn failing(cluster: &mut Cluster, failed: &[&str]) {
    for node in ["a", "b", "c"] {
        let view = LeaseView { proxy: Some(state(failed, node)), ..lease(node, &["192.168.50.0/24"], 1000) };
        cluster.members.apply(view, at(1), wall(1000));
    }
    cluster.members.set_own_proxy(Some(state(failed, "me")));
}

fn state(failed: &[&str], node: &str) -> ProxyState {
    if failed.contains(&node) { ProxyState::Failed } else { ProxyState::Serves }
}

#[test]
fn after_a_boot_a_routed_address_waits_for_kube_proxy_while_another_node_has_it() {
    let mut cluster = Cluster::new(&seed());
    let users = [service("172.30.200.155")];
    let taken = "Remote kube-lb0/32: announcingNonLocal";
    cluster.waits_for_proxy = true;
    assert_eq!(cluster.line("172.30.200.155", &users), taken, "nobody else has it");
    failing(&mut cluster, &[]);
    assert_eq!(cluster.line("172.30.200.155", &users), "nothing: undecided");
    assert_eq!(cluster.line("192.168.50.200", &[service("192.168.50.200")]), "candidate on eth0/24");
    cluster.observed.apply(Change::Address(key(3, "172.30.200.155/32"), ours()));
    assert_eq!(cluster.line("172.30.200.155", &users), taken, "what is here stays");
}

#[test]
fn a_node_whose_kube_proxy_fails_keeps_what_no_other_node_takes() {
    let mut cluster = Cluster::new(&seed());
    let users = [service("172.30.200.155")];
    let kept = "Remote kube-lb0/32: announcingNonLocal";
    failing(&mut cluster, &["me"]);
    assert_eq!(cluster.line("172.30.200.155", &users), "nothing: proxyFailed");
    // Control-plane nodes: agents run there, and they announce nothing. Or agents that do not say whether they do.
    for node in ["a", "b", "c"] {
        assert_eq!(cluster.line("172.30.200.155", &users), "nothing: proxyFailed");
        cluster.members.apply(lease(node, &["192.168.50.0/24"], 1001), at(2), wall(1001));
    }
    assert_eq!(cluster.line("172.30.200.155", &users), kept);
}

#[test]
fn case_61_a_node_that_kube_proxy_does_not_serve_is_the_last_choice() {
    let mut cluster = Cluster::new(&seed());
    let (local, remote) = ([service("192.168.50.200")], [service("172.30.200.155")]);
    failing(&mut cluster, &["me"]);
    let candidacy = cluster.candidacy("192.168.50.200", &local).unwrap();
    let others = ["a", "b", "c"].iter().filter_map(|name| NodeId::new(name)).collect();
    assert_eq!(candidacy.want.qualified, Qualified::Preferred(others));
    assert_eq!(cluster.line("172.30.200.155", &remote), "nothing: proxyFailed");
    failing(&mut cluster, &["a"]);
    let candidacy = cluster.candidacy("192.168.50.200", &local).unwrap();
    assert!(matches!(candidacy.want.qualified, Qualified::Preferred(nodes) if nodes.len() == 3));
    assert_eq!(cluster.line("172.30.200.155", &remote), "Remote kube-lb0/32: announcingNonLocal");
    // Two of four: something else is wrong.
    failing(&mut cluster, &["me", "a"]);
    assert_eq!(cluster.candidacy("192.168.50.200", &local).unwrap().want.qualified, Qualified::All);
    assert_eq!(cluster.line("172.30.200.155", &remote), "Remote kube-lb0/32: announcingNonLocal");
}
