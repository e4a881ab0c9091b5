//! Programs with bad habits, all at once, on Services of both kinds.
//!
//! `PURELB_HABITS_SECONDS=600` lets them run for ten minutes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use api_types::service::ingress_addresses;
use e2e::{
    Cluster, EditedGroup, KernelLog, Mac, NAMESPACE, Node, Operator, OurWrites, Targets, eventually,
    testing::{
        Applied, DEADLINE, SETTLE_TIME, Undo, Watched,
        audit::{GroupRanges, audit_at_rest},
        change_leader, group_object, host_routes_object, installed, nodes_with, object, service_object,
        wait_for_next_hops,
    },
};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

/// Everybody's run makes the same choices.
const SEED: u64 = 34;

/// How long they run, unless the environment says otherwise.
const USUALLY: Duration = Duration::from_secs(60);

/// Their namespace.
const SPACE: &str = "bad-habits";

/// How many Services there are.
const COUNT: usize = 50;

/// The most writes of ours in a minute to a Service, which has an address of one family: two of the allocator and one of
/// the owner. Where the managed fields do not show that they have written, the next leader and an agent that starts again
/// do not know it: two and one more.
const MOST: usize = 2 + 1 + 2 + 1;

/// What is put back is so within the rest of the minute in which it was put back twice, and then some.
const REST: Duration = Duration::from_secs(90);

/// A group: its name, its kind, its ranges, and the part of them that it has for a second now and then. The Services
/// have the first addresses, so most are outside of that part.
struct Group {
    name: &'static str,
    kind: &'static str,
    usual: [(&'static str, &'static str); 2],
    other: [(&'static str, &'static str); 2],
}

const GROUPS: [Group; 2] = [
    Group {
        name: "habits-local",
        kind: "local",
        usual: [("192.168.50.140-192.168.50.189", "192.168.50.0/24"), ("fd00:50::300-fd00:50::3ff", "fd00:50::/64")],
        other: [("192.168.50.170-192.168.50.189", "192.168.50.0/24"), ("fd00:50::380-fd00:50::3ff", "fd00:50::/64")],
    },
    Group {
        name: "habits-routed",
        kind: "remote",
        usual: [
            ("172.30.200.64-172.30.200.127", "172.30.200.0/24"),
            ("2001:470:8bf5:2:3::-2001:470:8bf5:2:3::ff", "2001:470:8bf5:2::/64"),
        ],
        other: [
            ("172.30.200.96-172.30.200.127", "172.30.200.0/24"),
            ("2001:470:8bf5:2:3::80-2001:470:8bf5:2:3::ff", "2001:470:8bf5:2::/64"),
        ],
    },
];

impl Group {
    /// The group with these of its ranges.
    fn object(&self, ranges: &[(&str, &str)]) -> Value {
        match self.kind {
            "remote" => host_routes_object(self.name, ranges),
            kind => group_object(self.name, kind, ranges),
        }
    }
}

/// A Service and what it was when all was well.
struct Met {
    name: String,
    group: &'static Group,
    address: IpAddr,
    /// What the operators may not change for long: the type, the marks.
    marks: [Value; 6],
    /// Its type is changed on purpose, so its address comes and goes.
    flipped: bool,
}

fn name(number: usize) -> String {
    format!("met-{number:02}")
}

/// One kind after the other, and of each kind one family after the other.
fn of(number: usize) -> (&'static Group, &'static str) {
    let group = if number.is_multiple_of(2) { &GROUPS[0] } else { &GROUPS[1] };
    (group, if (number / 2).is_multiple_of(2) { "IPv4" } else { "IPv6" })
}

fn marks(service: &Service) -> [Value; 6] {
    let annotations = service.metadata.annotations.clone().unwrap_or_default();
    let mark = |key: &str| json!(annotations.get(&format!("purelb.io/{key}")));
    let kind = json!(service.spec.as_ref().and_then(|spec| spec.type_.clone()));
    [
        kind,
        mark("allocated-by"),
        mark("allocated-from"),
        mark("pool-type"),
        mark("allocated-addresses"),
        mark("allocated-to"),
    ]
}

/// Creates the Services, and returns when each has an address.
async fn services(cluster: &Cluster) -> Vec<Met> {
    let api: Api<Service> = Api::namespaced(cluster.kube().await.unwrap(), SPACE);
    let created = (0..COUNT).map(|number| {
        let (group, family) = of(number);
        let annotations = [("service-group", group.name)];
        let spec = json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": [family]});
        let service = serde_json::from_value(service_object(&name(number), &annotations, &spec)).unwrap();
        let api = api.clone();
        async move { api.create(&PostParams::default(), &service).await.map(drop) }
    });
    join_all(created).await.into_iter().collect::<Result<(), _>>().unwrap();
    let mut met = Vec::new();
    for number in 0..COUNT {
        let name = name(number);
        let address = cluster.service_addresses(SPACE, &name, 1).await.unwrap()[0];
        let marks = marks(&api.get(&name).await.unwrap());
        met.push(Met { name, group: of(number).0, address, marks, flipped: number % 5 == 0 });
    }
    met
}

/// Starts all operators. A Service from which one takes the annotations while another overwrites its status has nothing
/// left that says what it was given, so those two keep apart.
async fn operators(cluster: &Cluster, met: &[Met]) -> Vec<Operator> {
    let client = cluster.kube().await.unwrap();
    let those = |wanted: &dyn Fn(usize, &Met) -> bool| {
        let some = met.iter().enumerate().filter(|(number, met)| wanted(*number, met));
        Targets::new(client.clone(), SPACE, some.map(|(_, met)| met.name.clone()))
    };
    let groups = GROUPS.iter().map(|group| {
        let spec = |ranges| group.object(ranges)["spec"].clone();
        EditedGroup { name: group.name.to_owned(), usual: spec(&group.usual), other: spec(&group.other) }
    });
    vec![
        Operator::deletes_annotations(those(&|number, met| !met.flipped && number % 5 < 3)),
        Operator::copies_status(those(&|number, met| !met.flipped && number % 5 >= 3), SEED),
        Operator::rewrites_from_cache(those(&|_, _| true), SEED + 1),
        Operator::applies_with_force(those(&|_, _| true), SEED + 2),
        Operator::flips_type(those(&|_, met| met.flipped), SEED + 3),
        Operator::edits_groups(client.clone(), groups.collect()),
    ]
}

/// What is seen from outside of the addresses that nobody has a reason to take away.
struct Seen<'a> {
    met: Vec<&'a Met>,
    /// The node with each local address.
    holders: BTreeMap<IpAddr, BTreeSet<String>>,
    on_nodes: Vec<(Node, KernelLog)>,
    at_router: KernelLog,
    /// One local address of each family, asked for each millisecond.
    watched: Watched<2>,
    from: Instant,
}

impl<'a> Seen<'a> {
    /// Begins when all are announced.
    async fn new(cluster: &Cluster, all: &'a [Met]) -> Self {
        let met: Vec<&Met> = all.iter().filter(|met| !met.flipped).collect();
        let local: Vec<IpAddr> = addresses(&met, "local");
        for address in addresses(&met, "remote") {
            wait_for_next_hops(cluster, address, cluster.nodes()).await;
        }
        let holders = eventually(DEADLINE, "one node with each local address", async || {
            let found = holders(cluster, &local);
            if found.values().all(|nodes| nodes.len() == 1) { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
        let one = |v4: bool| *local.iter().find(|address| address.is_ipv4() == v4).unwrap();
        let watched = Watched::new(cluster, [one(true), one(false)]);
        let macs: Vec<Mac> = cluster.nodes().map(|node| node.mac()).collect();
        watched.answered_by(|found| found.iter().all(|mac| macs.contains(mac))).await;
        let on_nodes = cluster.nodes().map(|node| (node.clone(), node.log_addresses().unwrap())).collect();
        let at_router = cluster.router().log_routes().unwrap();
        let from = watched.answers().await;
        Self { met, holders, on_nodes, at_router, watched, from }
    }

    /// No address has left a node, none has come to another, and no route has changed.
    fn assert_undisturbed(&self, cluster: &Cluster) {
        let announced: Vec<IpAddr> = self.met.iter().map(|met| met.address).collect();
        for (node, log) in &self.on_nodes {
            let removed: Vec<_> =
                log.about(&announced).into_iter().filter(e2e::KernelChange::is_removal).map(|it| it.text).collect();
            assert!(removed.is_empty(), "taken off {}: {removed:?}", node.name());
        }
        let changes = self.at_router.about(&addresses(&self.met, "remote"));
        assert!(changes.is_empty(), "the router's routes changed: {changes:?}");
        self.watched.assert_undisturbed(self.from);
        let local: Vec<IpAddr> = self.holders.keys().copied().collect();
        assert_eq!(holders(cluster, &local), self.holders);
    }
}

fn holders(cluster: &Cluster, addresses: &[IpAddr]) -> BTreeMap<IpAddr, BTreeSet<String>> {
    addresses.iter().map(|address| (*address, nodes_with(cluster, *address))).collect()
}

fn addresses(met: &[&Met], kind: &str) -> Vec<IpAddr> {
    met.iter().filter(|met| met.group.kind == kind).map(|met| met.address).collect()
}

/// What is not as it was before, if anything.
async fn differences(cluster: &Cluster, met: &[Met]) -> Result<Vec<String>, kube::Error> {
    let api: Api<Service> = Api::namespaced(cluster.kube().await.unwrap(), SPACE);
    let services = api.list(&ListParams::default()).await?.items;
    let groups: Vec<GroupRanges> = GROUPS
        .iter()
        .map(|group| GroupRanges::read(&object(cluster, &["servicegroup", group.name, "--namespace", NAMESPACE])))
        .collect();
    let mut differences: Vec<String> = audit_at_rest(&services, &groups).iter().map(ToString::to_string).collect();
    let by_name: BTreeMap<_, _> =
        services.iter().map(|service| (service.metadata.name.as_deref().unwrap_or_default(), service)).collect();
    for met in met {
        let Some(service) = by_name.get(met.name.as_str()) else {
            differences.push(format!("{} is gone", met.name));
            continue;
        };
        let shown = ingress_addresses(service);
        if met.flipped && shown.len() == 1 {
            continue;
        }
        if shown != [met.address] {
            differences.push(format!("{} had {} and has {shown:?}", met.name, met.address));
        }
        let marks = marks(service);
        if !met.flipped && marks != met.marks {
            differences.push(format!("{} had {:?} and has {marks:?}", met.name, met.marks));
        }
    }
    Ok(differences)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_with_bad_habits_move_nothing_and_all_is_in_the_end_as_it_was() {
    let seconds = std::env::var("PURELB_HABITS_SECONDS").ok().and_then(|text| text.parse().ok());
    let duration = seconds.map_or(USUALLY, Duration::from_secs);
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _groups = GROUPS.each_ref().map(|group| Applied::yaml(&cluster, &group.object(&group.usual).to_string()));
    let _space =
        Undo::kubectl(&cluster, &["create", "namespace", SPACE], &["delete", "namespace", SPACE, "--timeout=60s"]);
    let met = services(&cluster).await;
    let seen = Seen::new(&cluster, &met).await;
    let writes = OurWrites::count(cluster.kube().await.unwrap(), SPACE);
    tokio::time::sleep(SETTLE_TIME).await;
    seen.assert_undisturbed(&cluster);

    let begin = Instant::now();
    let operators = operators(&cluster, &met).await;
    tokio::time::sleep(duration / 3).await;
    change_leader(&cluster).await;
    tokio::time::sleep((duration * 2 / 3).saturating_sub(begin.elapsed())).await;
    cluster.node(1).crash_agent().unwrap();
    cluster.agents_ready(DEADLINE).await.unwrap();
    tokio::time::sleep(duration.saturating_sub(begin.elapsed())).await;
    println!("after {:?}: {operators:?}, {} writes of ours", begin.elapsed(), writes.total());
    for operator in operators {
        assert!(operator.writes() > 0, "the one that {} wrote nothing", operator.habit());
        operator.end().await;
    }
    seen.assert_undisturbed(&cluster);
    let most = |met: &Met| writes.most_in_a_minute(&met.name);
    let busiest = seen.met.iter().map(|met| (most(met), met.name.as_str())).max_by_key(|(most, _)| most.len());
    let (busiest, name) = busiest.unwrap();
    println!("{} of ours to {name} within a minute: {busiest:?}", busiest.len());
    let above: BTreeSet<&str> =
        seen.met.iter().filter(|met| most(met).len() > MOST).map(|met| met.name.as_str()).collect();
    assert!(above.is_empty(), "more than {MOST} writes in a minute to {above:?}");

    let ended = Instant::now();
    eventually(REST, "everything as it was", async || {
        let differences = differences(&cluster, &met).await.map_err(|error| error.to_string())?;
        if differences.is_empty() { Ok(()) } else { Err(format!("{differences:#?}")) }
    })
    .await
    .unwrap();
    println!("all was as before {:?} after the end", ended.elapsed());
    seen.assert_undisturbed(&cluster);
}
