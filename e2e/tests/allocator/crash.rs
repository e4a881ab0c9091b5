//! Allocators killed at random moments under load: no address is lost, and none is allocated twice.

use std::{
    env,
    time::{Duration, Instant},
};

use e2e::{
    Signal, eventually,
    testing::{Replica, audit::audit_at_rest, installed},
};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::support::{
    fixture::{Fixture, group, pool, service},
    invariants::InvariantWatch,
    replicas::{WithoutAllocator, cluster_kubeconfig},
};

/// How long, in seconds, unless `PURELB_CRASH_SECONDS` says otherwise.
const SECONDS: u64 = 60;

/// xorshift64: repeatable when the seed is known.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// One random change of one random Service. Whatever the API server refuses is as good.
async fn disturb(services: &Api<Service>, random: &mut Random) {
    let name = format!("s-{}", random.below(60));
    let families = [json!(["IPv4"]), json!(["IPv6"]), json!(["IPv4", "IPv6"])];
    match random.below(10) {
        0..=4 => {
            let two = random.below(3) == 0;
            let spec = if two {
                json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": families[2]})
            } else {
                json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": families[usize::from(random.below(2) == 0)]})
            };
            let mut annotations = vec![group("crash")];
            if random.below(4) == 0 {
                annotations.push(("allow-shared-ip", "key"));
            }
            let mut object = service(&name, &annotations, &spec);
            object["spec"]["ports"][0]["port"] = json!(1 + random.below(1000));
            let _ = services.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await;
        }
        5..=7 => drop(services.delete(&name, &DeleteParams::default()).await),
        8 => {
            let both = json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}});
            drop(services.patch(&name, &PatchParams::default(), &Patch::Merge(both)).await);
        }
        _ => {
            let kind = if random.below(2) == 0 { "ClusterIP" } else { "LoadBalancer" };
            drop(services.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": {"type": kind}}))).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_at_random_moments_under_load() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "crash").await;
    // Fewer addresses than Services, so that some always wait.
    let ranges = json!({"v4pool": pool("203.0.113.0/27", "203.0.113.0/24"), "v6pool": pool("2001:db8:c::/123", "2001:db8:c::/64")});
    fixture.group("crash", json!({"remote": ranges})).await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let seed = number("PURELB_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()) | 1);
    println!("PURELB_CRASH_SEED={seed}");
    let mut random = Random(seed);
    let kubeconfig = cluster_kubeconfig(&cluster);
    let start = |name: &str| Replica::start(&cluster, name, &kubeconfig).unwrap();
    let mut replicas = [start("one"), start("two")];
    let mut last_death = Instant::now();
    let mut pause = Duration::ZERO;
    let end = Instant::now() + Duration::from_secs(number("PURELB_CRASH_SECONDS").unwrap_or(SECONDS));
    let mut deaths = 0;
    while Instant::now() < end {
        let services = fixture.services();
        let seeds: Vec<u64> = (0..8).map(|_| random.below(u64::MAX - 1) | 1).collect();
        stream::iter(seeds)
            .for_each_concurrent(4, |seed| {
                let services = services.clone();
                async move { disturb(&services, &mut Random(seed)).await }
            })
            .await;
        if last_death.elapsed() >= pause {
            // The leader more often than the other.
            let victim = usize::from(replicas[1].leads() || random.below(4) == 0);
            let name = replicas[victim].name().to_owned();
            replicas[victim].signal(Signal::SIGKILL).unwrap();
            replicas[victim] = start(&name);
            deaths += 1;
            last_death = Instant::now();
            // Short lives and such that are long enough to lead.
            pause = Duration::from_millis(random.below(if deaths % 2 == 0 { 12_000 } else { 2000 }));
        }
    }
    println!("{deaths} deaths");
    let services: Api<Service> = Api::all(fixture.client.clone());
    eventually(Duration::from_secs(40), "a cluster at rest in which every rule holds", async || {
        let all = services.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let broken = audit_at_rest(&all.items, &fixture.ranges().await);
        let waiting = all.items.iter().filter(|it| it.metadata.namespace.as_ref() == Some(&fixture.namespace)).count();
        if broken.is_empty() { Ok(()) } else { Err(format!("of {waiting}: {broken:#?}")) }
    })
    .await
    .unwrap();
    invariants.assert_held();
}
