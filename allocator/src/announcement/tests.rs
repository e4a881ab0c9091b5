use std::collections::BTreeSet;

use api_types::Announce;
use rstest::rstest;

use super::*;

/// A node in the subnet that could announce the address.
fn able(name: &str) -> NodeFacts<'_> {
    NodeFacts { name, agent: AgentState::Running, place: Place::Inside, excluded: false, endpoint: true, refusal: None }
}

fn with_agent(name: &str, agent: AgentState) -> NodeFacts<'_> {
    NodeFacts { agent, ..able(name) }
}

fn placed(name: &str, place: Place) -> NodeFacts<'_> {
    NodeFacts { place, ..able(name) }
}

fn refusing<'a>(name: &'a str, why: &'a str) -> NodeFacts<'a> {
    NodeFacts { refusal: Some(why), ..able(name) }
}

fn without_endpoint(node: NodeFacts<'_>) -> NodeFacts<'_> {
    NodeFacts { endpoint: false, ..node }
}

fn excluded(name: &str) -> NodeFacts<'_> {
    NodeFacts { excluded: true, ..able(name) }
}

const LOCAL: Announce = Announce::Local;
const EITHER: Announce = Announce::SubnetOrRouted;
const OUTSIDE: Place = Place::Outside;

const CLUSTER: bool = false;
const POLICY_LOCAL: bool = true;

fn ask(
    announce: Announce,
    local_policy: bool,
    nodes: &[NodeFacts<'_>],
    change: impl FnOnce(&mut Question<'_>),
) -> String {
    let subnets: BTreeSet<_> = ["192.0.2.0/24", "fd00:50::/64"].map(|text| text.parse().unwrap()).into();
    let mut question = Question {
        address: "198.51.100.7".parse().unwrap(),
        announce,
        subnet: Some("198.51.100.0/24".parse().unwrap()),
        announcer: Announcer::Nobody,
        local_policy,
        endpoints_known: true,
        subnets: &subnets,
    };
    change(&mut question);
    match decide(&question, nodes.iter().copied()) {
        Announcement::Announced => "announced".to_owned(),
        Announcement::Unknown => "unknown".to_owned(),
        Announcement::Nobody(finding) => {
            let text = finding.to_string();
            let text = text.strip_prefix("nobody announces 198.51.100.7: ").unwrap();
            format!("{}: {text}", finding.reason())
        }
    }
}

#[rstest]
#[case::pool_of_another_network(LOCAL, CLUSTER, &[placed("a", OUTSIDE)],
    "NoNodeInSubnet: no node is in its subnet 198.51.100.0/24; the agents are in 192.0.2.0/24, fd00:50::/64. Use a range of these networks or a remote group, or connect a node to that subnet")]
#[case::agents_do_not_run(LOCAL, CLUSTER, &[with_agent("a", AgentState::NotRunning), with_agent("b", AgentState::NotRunning), placed("c", OUTSIDE)],
    "AgentsNotRunning: no agent runs on a, b. Check the DaemonSet lbnodeagent")]
#[case::nobody_selects_the_nodes(LOCAL, CLUSTER, &[with_agent("a", AgentState::Deselected)],
    "NodesNotSelected: no LBNodeAgent selects a. Have an LBNodeAgent select these nodes")]
#[case::a_configuration_that_is_not_valid(LOCAL, CLUSTER, &[with_agent("a", AgentState::Invalid)],
    "InvalidConfiguration: the LBNodeAgent of a is not valid. Correct the LBNodeAgent: its events say what is wrong")]
#[case::interfaces_elsewhere(LOCAL, CLUSTER, &[placed("a", Place::NotSelected), placed("b", OUTSIDE)],
    "NoInterfaceSelected: the agent of a has selected no interface in the subnet. Have the LBNodeAgent select an interface in that subnet")]
#[case::refused(LOCAL, CLUSTER, &[refusing("a", "gateway 198.51.100.7 has it"), refusing("b", "gateway 198.51.100.7 has it")],
    "Refused: refused by a, b: gateway 198.51.100.7 has it. Remove the cause, or give the Service another address")]
#[case::each_its_own_reason(LOCAL, CLUSTER, &[refusing("a", "a has it"), with_agent("b", AgentState::NotRunning)],
    "NoNodeCan: no agent runs on b; refused by a: a has it. Check the DaemonSet lbnodeagent")]
#[case::no_endpoint(LOCAL, POLICY_LOCAL, &[without_endpoint(able("a")), without_endpoint(able("b"))],
    "NoEndpoint: externalTrafficPolicy is Local, and the Service has no ready endpoint of this family on any node. Check its Pods, or set the policy to Cluster")]
#[case::endpoints_on_an_excluded_node(LOCAL, POLICY_LOCAL, &[without_endpoint(able("a")), excluded("b")],
    "EndpointsElsewhere: externalTrafficPolicy is Local, and endpoints are only where nobody can announce it: the label node.kubernetes.io/exclude-from-external-load-balancers excludes b. Move the Pods, or set the policy to Cluster")]
#[case::endpoints_without_agent_or_subnet(LOCAL, POLICY_LOCAL, &[without_endpoint(able("a")), with_agent("b", AgentState::NotRunning), placed("c", OUTSIDE)],
    "EndpointsElsewhere: externalTrafficPolicy is Local, and endpoints are only where nobody can announce it: no agent runs on b; not in the subnet: c. Move the Pods, or set the policy to Cluster")]
#[case::routed_endpoints_without_agent(EITHER, POLICY_LOCAL, &[without_endpoint(placed("a", OUTSIDE)), with_agent("b", AgentState::NotRunning)],
    "EndpointsElsewhere: externalTrafficPolicy is Local, and endpoints are only where nobody can announce it: no agent runs on b. Move the Pods, or set the policy to Cluster")]
#[case::routed_without_agents(EITHER, CLUSTER, &[with_agent("a", AgentState::NotRunning)],
    "AgentsNotRunning: no agent runs on a. Check the DaemonSet lbnodeagent")]
#[case::routed_without_nodes(EITHER, CLUSTER, &[], "AgentsNotRunning: no agent runs. Check the DaemonSet lbnodeagent")]
#[case::routed_and_refused(EITHER, CLUSTER, &[NodeFacts { place: OUTSIDE, ..refusing("a", "it would overlap") }],
    "Refused: refused by a: it would overlap. Remove the cause, or give the Service another address")]
#[case::nobody_claims_it(LOCAL, CLUSTER, &[able("a"), able("b")],
    "Unconfirmed: a, b can, and do not. See the events of the Service and /state of the agents there: another host may use the address, or the network may be cut")]
#[case::the_label_does_not_count_where_all_have_it(LOCAL, CLUSTER, &[excluded("a")],
    "Unconfirmed: a can, and does not. See the events of the Service and /state of the agents there: another host may use the address, or the network may be cut")]
fn nobody_announces_it(
    #[case] announce: Announce,
    #[case] local_policy: bool,
    #[case] nodes: &[NodeFacts<'_>],
    #[case] expected: &str,
) {
    assert_eq!(ask(announce, local_policy, nodes, |_| {}), expected);
}

#[rstest]
#[case::routed(EITHER, CLUSTER, &[placed("a", OUTSIDE), with_agent("b", AgentState::NotRunning)])]
#[case::routed_though_all_are_excluded(EITHER, CLUSTER, &[NodeFacts { place: OUTSIDE, ..excluded("a") }])]
#[case::routed_beside_the_subnet(EITHER, CLUSTER, &[able("a"), placed("b", OUTSIDE)])]
#[case::routed_with_endpoint(EITHER, POLICY_LOCAL, &[placed("a", OUTSIDE), without_endpoint(placed("b", OUTSIDE))])]
fn routed_addresses_are_announced_by_whoever_can(
    #[case] announce: Announce,
    #[case] local_policy: bool,
    #[case] nodes: &[NodeFacts<'_>],
) {
    assert_eq!(ask(announce, local_policy, nodes, |_| {}), "announced");
}

#[test]
fn what_a_running_agent_has_noted_counts_whatever_else_is_known() {
    let nodes = [with_agent("a", AgentState::Deselected), without_endpoint(able("b"))];
    for local_policy in [CLUSTER, POLICY_LOCAL] {
        let noted = |question: &mut Question<'_>| question.announcer = Announcer::Alive;
        assert_eq!(ask(LOCAL, local_policy, &nodes, noted), "announced");
    }
    let silent = |question: &mut Question<'_>| question.announcer = Announcer::Silent;
    let text = ask(LOCAL, CLUSTER, &[with_agent("a", AgentState::NotRunning)], silent);
    assert!(text.ends_with("The kernel of the node that announced it last may answer for some minutes"), "{text}");
}

#[test]
fn unknown_endpoints_leave_open_what_depends_on_them() {
    let unknown = |question: &mut Question<'_>| (question.endpoints_known, question.local_policy) = (false, false);
    assert_eq!(ask(LOCAL, CLUSTER, &[able("a")], unknown), "unknown");
    assert_eq!(ask(EITHER, CLUSTER, &[placed("a", OUTSIDE)], unknown), "unknown");
    assert!(ask(LOCAL, CLUSTER, &[placed("a", OUTSIDE)], unknown).starts_with("NoNodeInSubnet"));
}

#[test]
fn a_sentence_names_few_nodes() {
    let names: Vec<String> = (1..=8).map(|n| format!("n{n}")).collect();
    let nodes: Vec<NodeFacts<'_>> = names.iter().map(|name| with_agent(name, AgentState::NotRunning)).collect();
    let text = ask(LOCAL, CLUSTER, &nodes, |_| {});
    assert!(text.contains("no agent runs on n1, n2, n3, n4, n5 and 3 more."), "{text}");
}
