//! A model test of the whole index: random users, messages in random order, leaders that change.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::Family;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::api_server::{ApiServer, addresses};
use super::fixtures::dual;
use super::replica::Replica;

#[derive(Debug, Clone)]
enum Step {
    /// A user creates or edits a Service.
    Put {
        who: u8,
        families: u8,
        prefer: bool,
        group_choice: u8,
    },
    Delete(u8),
    Downgrade(u8),
    ReEvaluate(u8),
    /// Somebody else writes over what the allocator wrote.
    Meddle {
        who: u8,
        how: u8,
    },
    /// A user edits or deletes a group.
    Group {
        which: u8,
        how: u8,
    },
    Deliver,
    Send,
    /// A write arrives; its answer may be lost.
    Answer(usize, bool),
    Retry,
    /// The write of the Lease under way arrives; its answer may be lost.
    State(bool),
    /// Another leader takes over; writes of the one before may still arrive.
    Takeover,
    /// A write of a leader before arrives.
    Late(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..8, 0_u8..4, any::<bool>(), 0_u8..10).prop_map(|(who, families, prefer, group_choice)| Step::Put { who, families, prefer, group_choice }),
        2 => (0_u8..8).prop_map(Step::Delete),
        1 => (0_u8..8).prop_map(Step::Downgrade),
        1 => (0_u8..8).prop_map(Step::ReEvaluate),
        2 => (0_u8..8, 0_u8..6).prop_map(|(who, how)| Step::Meddle { who, how }),
        2 => (0_u8..3, 0_u8..7).prop_map(|(which, how)| Step::Group { which, how }),
        12 => Just(Step::Deliver),
        12 => Just(Step::Send),
        8 => (0_usize..8, prop::bool::weighted(0.2)).prop_map(|(which, lose)| Step::Answer(which, lose)),
        3 => Just(Step::Retry),
        4 => prop::bool::weighted(0.2).prop_map(Step::State),
        1 => Just(Step::Takeover),
        2 => (0_usize..8).prop_map(Step::Late),
    ]
}

/// Many Services that wait, leaders that change, and writes that arrive late.
fn step_of_leaders() -> impl Strategy<Value = Step> {
    let put = |(who, families)| Step::Put { who, families, prefer: false, group_choice: 0 };
    prop_oneof![
        8 => (5_u8..40, 0_u8..3).prop_map(put),
        3 => (5_u8..40).prop_map(Step::Delete),
        14 => Just(Step::Deliver),
        14 => Just(Step::Send),
        4 => (0_usize..8, prop::bool::weighted(0.2)).prop_map(|(which, lose)| Step::Answer(which, lose)),
        4 => prop::bool::weighted(0.3).prop_map(Step::State),
        2 => Just(Step::Takeover),
        6 => (0_usize..8).prop_map(Step::Late),
    ]
}

fn families(number: u8) -> Value {
    match number {
        0 => json!(["IPv4"]),
        1 => json!(["IPv6"]),
        2 => json!(["IPv4", "IPv6"]),
        _ => json!(["IPv6", "IPv4"]),
    }
}

/// What a Service requested never changes in its lifetime, but for its families and group: so every
/// two holders of one address must have the right to share it, at every moment.
fn annotations(who: u8, group_choice: u8) -> Value {
    let mut annotations = match who {
        0 | 1 => json!({"purelb.io/allow-shared-ip": "k"}),
        2 => json!({"purelb.io/addresses": "10.1.0.2"}),
        3 => json!({"purelb.io/addresses": "10.1.0.3,2001:db8:1::2"}),
        4 => json!({"purelb.io/multi-pool": "true"}),
        _ => json!({}),
    };
    annotations["purelb.io/service-group"] = match group_choice {
        0..=4 => Value::Null,
        5 | 6 => json!("b"),
        7 => json!("b,default"),
        8 => json!("c"),
        _ => json!("nope"),
    };
    annotations
}

fn group(how: u8) -> Option<Value> {
    let pool =
        |pool: &str| json!({"pool": pool, "subnet": if pool.contains(':') { "2001:db8::/32" } else { "10.0.0.0/8" }});
    Some(match how {
        0 => json!({"remote": {"v4pool": pool("10.1.0.0-10.1.0.3"), "v6pool": pool("2001:db8:1::-2001:db8:1::3")}}),
        1 => json!({"remote": {"v4pools": [pool("10.1.0.2-10.1.0.5"), pool("10.2.0.0/31")]}}),
        2 => json!({"remote": {"v6pool": pool("2001:db8:1::2/127")}}),
        3 => json!({"remote": {"v4pool": pool("10.1.0.9-10.1.0.1")}}),
        4 => {
            json!({"remote": {"balancePools": true, "v4pools": [pool("10.3.0.0/31"), pool("10.4.0.0/31")], "v6pool": pool("2001:db8:2::/127")}})
        }
        5 => json!({"remote": {"multiPool": true, "v4pools": [pool("10.1.0.0-10.1.0.3"), pool("10.3.0.0/31")]}}),
        _ => return None,
    })
}

fn name(who: u8) -> String {
    format!("s{who}")
}

fn wanted(object: &Value) -> Vec<Family> {
    let families = object["spec"]["ipFamilies"].as_array();
    families.into_iter().flatten().filter_map(|family| Family::from_api(family.as_str()?)).collect()
}

fn is_load_balancer(object: &Value) -> bool {
    object["spec"]["type"] == "LoadBalancer"
}

/// No address is held by two Services unless they may share it.
fn no_double_use(server: &ApiServer) -> Result<(), TestCaseError> {
    let mut holders: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    for (name, object) in &server.services {
        for address in addresses(object) {
            holders.entry(address).or_default().push(name);
        }
    }
    for (address, names) in holders {
        let sharers = names.iter().all(|name| ["s0", "s1"].contains(name));
        prop_assert!(names.len() == 1 || sharers, "{address} is held by {names:?}");
    }
    Ok(())
}

/// The addresses that the allocator gave: its list, or the status of a Service without one.
fn given(object: &Value) -> Vec<IpAddr> {
    let list = object["metadata"]["annotations"]["purelb.io/allocated-addresses"].as_str();
    let mut given = list.map_or_else(|| addresses(object), api_types::provenance::read_addresses);
    given.retain(|address| !address.to_string().starts_with("203."));
    given.sort();
    given
}

fn is_deleting(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

/// Writes over what the allocator wrote, or begins a deletion.
fn meddle(server: &mut ApiServer, name: &str, how: u8) {
    let strip = |object: &mut Value| {
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.retain(|key, _| !api_types::names::annotation::WRITTEN.contains(&key.as_str()));
    };
    if !server.services.get(name).is_some_and(is_load_balancer) {
        return;
    }
    match how {
        0 => server.set_ingress(name, &[&format!("203.0.113.{}", &name[1..])]),
        1 => server.set_ingress(name, &[]),
        2 => server.edit_service(name, "operator", strip),
        3 => server.edit_service(name, "operator", |object| {
            strip(object);
            object["status"] = json!({});
        }),
        4 => server.edit_service(name, "operator", |object| {
            if let Some(entries) = object.pointer_mut("/status/loadBalancer/ingress").and_then(Value::as_array_mut) {
                entries.push(json!({"hostname": "x.example"}));
            }
        }),
        _ => server.begin_deletion(name),
    }
}

/// A Service that has what it wants keeps it.
fn no_move_without_cause(group_is_multi: bool, before: &Value, after: &Value) -> Result<(), TestCaseError> {
    let (old, new) = (given(before), given(after));
    if old == new || after.is_null() || is_deleting(before) {
        return Ok(());
    }
    let wanted = wanted(before);
    let has_all = wanted.iter().all(|family| old.iter().any(|address| Family::of(*address) == *family));
    let has_more = old.iter().any(|address| !wanted.contains(&Family::of(*address)));
    let multi = before["metadata"]["annotations"].get("purelb.io/multi-pool").is_some();
    let asked = before["metadata"]["annotations"].get("purelb.io/re-evaluate").is_some();
    let grows = (multi || group_is_multi) && old.iter().all(|address| new.contains(address));
    prop_assert!(!has_all || has_more || asked || grows, "{before} became {after}");
    Ok(())
}

/// A Service that waits has a reason to.
fn at_rest(server: &ApiServer, replica: &mut Replica) -> Result<(), TestCaseError> {
    for (name, object) in &server.services {
        let annotations = object["metadata"]["annotations"].as_object().unwrap();
        let mut held = addresses(object);
        held.sort();
        if !is_load_balancer(object) {
            prop_assert!(!annotations.contains_key("purelb.io/allocated-by"), "{name} still has our annotations");
            continue;
        }
        if is_deleting(object) {
            prop_assert!(!annotations.contains_key("purelb.io/allocated-by"), "{name} has our marks: {object}");
            continue;
        }
        // Without our marks an address is another load balancer's after a change of leader.
        let marked = annotations.contains_key("purelb.io/allocated-by");
        prop_assert!(
            !marked || !held.is_empty() && held == given(object),
            "{name} has not what it was given: {object}"
        );
        prop_assert!(!annotations.contains_key("purelb.io/re-evaluate"));
        let chosen = annotations.get("purelb.io/service-group").and_then(Value::as_str).unwrap_or("default");
        let plain = !["purelb.io/allow-shared-ip", "purelb.io/addresses", "purelb.io/multi-pool"]
            .iter()
            .any(|key| annotations.contains_key(*key));
        let families = wanted(object);
        if held.is_empty() && plain && !chosen.contains(',') {
            let table = replica.index.group_table();
            let free = |family: &Family| {
                table.get(chosen).is_some_and(|group| {
                    group.pools_of(*family).any(|pool| replica.index.lowest_free(pool.range).is_some())
                })
            };
            prop_assert!(!families.iter().all(free), "{name} could be served: {object}");
        }
    }
    // The address table agrees with the server.
    let all: std::collections::BTreeSet<IpAddr> =
        server.services.values().filter(|object| is_load_balancer(object)).flat_map(addresses).collect();
    let groups: Vec<String> = replica.index.group_table().accepted().map(|((_, name), _)| name.clone()).collect();
    for group in groups {
        let ranges: Vec<_> =
            replica.index.group_table().get(&group).unwrap().pools.iter().map(|pool| pool.range).collect();
        let status = replica.group_status(&group);
        let shown = status["allocatedIPv4"].as_i64().unwrap() + status["allocatedIPv6"].as_i64().unwrap();
        let counted = all.iter().filter(|address| ranges.iter().any(|range| range.contains(**address))).count();
        prop_assert_eq!(shown, i64::try_from(counted).unwrap(), "{}", group);
    }
    Ok(())
}

/// Runs the steps. If groups do not change, one has more addresses than an offer, so that a new leader serves others while
/// its fences are unanswered.
fn run(steps: Vec<Step>, groups_change: bool) -> Result<(), TestCaseError> {
    let mut server = ApiServer::default();
    server.put_group("default", &group(0).unwrap());
    if !groups_change {
        server.put_group("default", &dual("10.1.0.0/27", "2001:db8:1::/123"));
        server.put_group("b", &group(4).unwrap());
    }
    let mut replica = Replica::leader(&mut server, true, "f0");
    replica.states_at_once = false;
    let mut late = Vec::new();
    let (mut terms, mut was_multi) = (0, false);
    // Their addresses were free for a while, whatever their lists say.
    let mut retyped: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    for step in steps {
        match step {
            Step::Put { who, families: number, prefer, group_choice } => {
                let policy = if prefer { "PreferDualStack" } else { "RequireDualStack" };
                let port = 80 + u16::from(who);
                let spec = json!({"ipFamilies": families(number), "ipFamilyPolicy": policy, "ports": [{"port": port}]});
                server.put_service(&name(who), spec, annotations(who, group_choice));
            }
            Step::Delete(who) => server.delete_service(&name(who)),
            Step::Downgrade(who) if server.services.contains_key(&name(who)) => {
                server.put_service(&name(who), json!({"type": "ClusterIP"}), json!({}));
                retyped.insert(name(who));
            }
            Step::ReEvaluate(who) if server.services.get(&name(who)).is_some_and(is_load_balancer) => {
                let spec = server.services[&name(who)]["spec"].clone();
                server.put_service(&name(who), spec, json!({"purelb.io/re-evaluate": "true"}));
            }
            Step::Meddle { who, how } => meddle(&mut server, &name(who), how),
            Step::Group { which, how } if groups_change => {
                let name = ["default", "b", "c"][usize::from(which)];
                match group(how) {
                    Some(spec) => {
                        // The allocator may see it long after it is another one again.
                        was_multi |= spec["remote"]["multiPool"] == true;
                        server.put_group(name, &spec);
                    }
                    None => server.delete_group(name),
                }
            }
            Step::Deliver => _ = replica.deliver(&mut server),
            Step::Send => _ = replica.send(),
            Step::Answer(which, lose) => {
                if let Some((before, after)) = replica.answer(&mut server, which, lose)
                    && !before["metadata"]["name"].as_str().is_some_and(|name| retyped.contains(name))
                {
                    no_move_without_cause(was_multi, &before, &after)?;
                }
            }
            Step::Retry => replica.index.retry(),
            Step::State(lose) => _ = replica.state(lose),
            Step::Takeover => {
                terms += 1;
                late.append(&mut replica.writes);
                let fence = format!("f{terms}");
                replica = Replica::leader(&mut server, false, &fence);
                replica.states_at_once = false;
                let leftovers = server.services.values().filter_map(|object| {
                    serde_json::from_value::<crate::model::WatchedService>(object.clone()).unwrap().leftover()
                });
                replica.index.clean_up(leftovers);
            }
            Step::Late(which) if !late.is_empty() => {
                let patch = late.remove(which % late.len());
                let mut ghost = Replica::leader(&mut ApiServer::default(), true, "ghost");
                ghost.writes = vec![patch];
                ghost.answer(&mut server, 0, true);
            }
            Step::Downgrade(_) | Step::ReEvaluate(_) | Step::Group { .. } | Step::Late(_) => {}
        }
        no_double_use(&server)?;
    }
    replica.settle(&mut server);
    no_double_use(&server)?;
    at_rest(&server, &mut replica)?;
    // A restart changes nothing.
    let writes = server.writes.clone();
    let mut replica = Replica::leader(&mut server, true, "last");
    replica.settle(&mut server);
    prop_assert_eq!(&server.writes, &writes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn the_invariants_hold_after_every_step(steps in prop::collection::vec(step(), 1..160)) {
        run(steps, true)?;
    }

    #[test]
    fn case_67_nothing_is_given_that_a_late_write_could_give(steps in prop::collection::vec(step_of_leaders(), 1..160)) {
        run(steps, false)?;
    }

    #[test]
    fn case_67_the_invariants_hold_while_fences_are_unanswered(steps in prop::collection::vec(step(), 1..160)) {
        run(steps, false)?;
    }
}
