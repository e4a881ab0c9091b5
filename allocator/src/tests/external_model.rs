//! A model test of external groups: random users, a sidecar whose behavior changes, leaders that change.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::api_server::{ApiServer, addresses};
use super::giving_back::owed;
use super::replica::Replica;
use super::sidecar::{Behavior, Sidecar};
use crate::external::Call;

#[derive(Debug, Clone)]
enum Step {
    Put {
        who: u8,
        families: u8,
        own: bool,
    },
    Delete(u8),
    Downgrade(u8),
    ReEvaluate(u8),
    Group(u8),
    Behave(u8),
    Deliver,
    Send,
    Answer(usize, bool),
    Call,
    /// A call in flight is answered.
    Response(usize),
    Retry,
    Pass(u8),
    Takeover,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_u8..6, 0_u8..3, prop::bool::weighted(0.2)).prop_map(|(who, families, own)| Step::Put { who, families, own }),
        2 => (0_u8..6).prop_map(Step::Delete),
        1 => (0_u8..6).prop_map(Step::Downgrade),
        1 => (0_u8..6).prop_map(Step::ReEvaluate),
        1 => (0_u8..3).prop_map(Step::Group),
        2 => (0_u8..6).prop_map(Step::Behave),
        10 => Just(Step::Deliver),
        10 => Just(Step::Send),
        8 => (0_usize..8, prop::bool::weighted(0.2)).prop_map(|(which, lose)| Step::Answer(which, lose)),
        8 => Just(Step::Call),
        8 => (0_usize..8).prop_map(Step::Response),
        2 => Just(Step::Retry),
        3 => (0_u8..20).prop_map(Step::Pass),
        1 => Just(Step::Takeover),
    ]
}

fn name(who: u8) -> String {
    format!("s{who}")
}

/// No two Services have one address: none has a sharing key here.
fn no_double_use(server: &ApiServer) -> Result<(), TestCaseError> {
    let mut holders: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for (name, object) in &server.services {
        for address in addresses(object) {
            let other = holders.insert(address, name);
            prop_assert!(other.is_none(), "{address} is held by {name} and {other:?}");
        }
    }
    Ok(())
}

fn group() -> Value {
    json!({"external": {"provider": "Acme", "socket": "/run/ipam.sock", "announce": "remote"}})
}

/// Writes the status of the group, as a leader does. A successor finds it.
fn write_status(server: &mut ApiServer, replica: &mut Replica) {
    let status = replica.group_status("ext");
    if let Some(group) = server.groups.get_mut("ext").filter(|_| status.is_object()) {
        group["status"] = status;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn sidecar_and_services_agree_at_rest(
        keeps_owners in prop::bool::ANY,
        lists in prop::option::of(1_usize..4),
        steps in prop::collection::vec(step(), 1..140),
    ) {
        let mut server = ApiServer::default();
        server.put_group("ext", &group());
        let own = json!({"remote": {"v4pool": {"pool": "10.1.0.0/31", "subnet": "10.0.0.0/8"}, "v6pool": {"pool": "2001:db8:1::/127", "subnet": "2001:db8::/32"}}});
        server.put_group("default", &own);
        let mut replica = Replica::leader(&mut server, true, "f0");
        let mut sidecar = Sidecar { keeps_owners, lists, ..Sidecar::new(3) };
        let mut calls: Vec<Call> = Vec::new();
        let is_compared = keeps_owners && lists.is_some();
        let mut terms = 0;
        for step in steps {
            match step {
                Step::Put { who, families, own } => {
                    let families = [json!(["IPv4"]), json!(["IPv6"]), json!(["IPv4", "IPv6"])][usize::from(families)].clone();
                    let policy = if who % 2 == 0 { "PreferDualStack" } else { "RequireDualStack" };
                    let spec = json!({"ipFamilies": families, "ipFamilyPolicy": policy, "ports": [{"port": 80}]});
                    let group = if own { Value::Null } else { json!("ext") };
                    server.put_service(&name(who), spec, json!({"purelb.io/service-group": group}));
                }
                Step::Delete(who) => server.delete_service(&name(who)),
                Step::Downgrade(who) if server.services.contains_key(&name(who)) => {
                    server.put_service(&name(who), json!({"type": "ClusterIP"}), json!({}));
                }
                Step::ReEvaluate(who) if server.services.get(&name(who)).is_some_and(|it| it["spec"]["type"] == "LoadBalancer") => {
                    let spec = server.services[&name(who)]["spec"].clone();
                    server.put_service(&name(who), spec, json!({"purelb.io/re-evaluate": "true"}));
                }
                Step::Group(0) => server.put_group("ext", &json!({"external": {"provider": "Other", "socket": "/run/ipam.sock", "announce": "local"}})),
                Step::Group(_) => server.put_group("ext", &group()),
                Step::Behave(behavior) => {
                    sidecar.behavior = match behavior {
                        0 => Behavior::NotAnswering,
                        1 => Behavior::LosesAnswers,
                        2 => Behavior::Refuses("Internal: x"),
                        4 => Behavior::RefusesReleases("Internal: no"),
                        3 => Behavior::Gives(vec!["192.0.2.1".parse().unwrap(), "2001:db8:1::".parse().unwrap()]),
                        _ => Behavior::Normal,
                    };
                }
                Step::Deliver => _ = replica.deliver(&mut server),
                Step::Send => _ = replica.send(),
                Step::Answer(which, lose) => _ = replica.answer(&mut server, which, lose),
                Step::Call => calls.extend(replica.index.next_call(sidecar.now)),
                Step::Response(which) if !calls.is_empty() => {
                    let call = calls.remove(which % calls.len());
                    let answer = sidecar.answer(&call);
                    replica.index.call_answered(&call, &answer, sidecar.now);
                }
                Step::Retry => replica.index.retry(),
                Step::Pass(seconds) => sidecar.now = sidecar.now + std::time::Duration::from_secs(seconds.into()),
                Step::Takeover => {
                    // Calls in flight are lost, or carried out without an answer.
                    for call in calls.drain(..).step_by(2) {
                        let _ = sidecar.answer(&call);
                    }
                    terms += 1;
                    // Two things are found by a listing alone (see the README): a Service that is deleted while no
                    // allocator runs, and a process that ends within the second until the record is written.
                    if !is_compared {
                        while replica.deliver(&mut server) || replica.send() {}
                        write_status(&mut server, &mut replica);
                        replica.write_record(&mut server);
                    }
                    replica = Replica::leader(&mut server, false, &format!("f{terms}"));
                    let leftovers = server.services.values().filter_map(|object| {
                        serde_json::from_value::<crate::model::WatchedService>(object.clone()).unwrap().leftover()
                    });
                    replica.index.clean_up(leftovers);
                }
                Step::Downgrade(_) | Step::ReEvaluate(_) | Step::Response(_) => {}
            }
            no_double_use(&server)?;
        }
        sidecar.behavior = Behavior::Normal;
        for call in calls.drain(..) {
            let answer = sidecar.answer(&call);
            replica.index.call_answered(&call, &answer, sidecar.now);
        }
        for _ in 0..4 {
            sidecar.later(61, &mut server, &mut replica);
        }
        if is_compared {
            // Perhaps a listing failed.
            for seconds in [24 * 3600, 61, 61] {
                sidecar.later(seconds, &mut server, &mut replica);
            }
        }
        no_double_use(&server)?;
        for (name, object) in &server.services {
            let of_sidecar = |address: &IpAddr| sidecar.free.values().any(|all| all.contains(address));
            let mut has: Vec<IpAddr> = addresses(object).into_iter().filter(of_sidecar).collect();
            let mut allocated = sidecar.of(name);
            has.sort();
            allocated.sort();
            prop_assert_eq!(has, allocated, "{}: {}", name, object);
        }
        for (_, service, _) in sidecar.allocations.keys() {
            let name = service.trim_start_matches("shop/");
            prop_assert!(server.services.contains_key(name), "{service} is gone and has an allocation");
        }
        prop_assert_eq!(&replica.group_status("ext")["pendingReleases"], &Value::Null);
        replica.write_record(&mut server);
        prop_assert_eq!(owed(&server), json!([]));
    }
}
