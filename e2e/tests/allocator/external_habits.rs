//! Sidecars that are slow, refuse and restart, and people who edit annotations. The allocator runs outside the cluster, as
//! in `external`.

use std::collections::BTreeMap;
use std::env;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api_types::service::ingress_addresses;
use e2e::{
    Signal, eventually,
    testing::{WithoutAllocator, installed},
};
use ipam::habits::Habit;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::external::{external, leading, leases, recorded};
use crate::support::{
    fixture::{Fixture, group, remote},
    sidecar::{Sidecar, SidecarFiles},
};

/// How long the mixture takes, in seconds, unless `PURELB_IPAM_SECONDS` says otherwise.
const SECONDS: u64 = 60;
/// An address that the sidecar gives when all others are taken.
const LAST: &str = "198.51.100.159";
/// How long a Service may wait without being told why: the deadline of a call, a new leader, and some.
const TOLD_WITHIN: Duration = Duration::from_secs(40);
/// What a Service that waits has at the latest when the sidecar is well again: its longest pause, and some.
const LONGEST_WAIT: Duration = Duration::from_secs(100);

/// Waits until the sidecar holds exactly what the Services of the namespace have.
async fn agree(fixture: &Fixture<'_>, sidecar: &Sidecar, owners: usize) {
    eventually(LONGEST_WAIT, "a sidecar that has what the Services have", async || {
        let list = fixture.services().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let has: BTreeMap<String, Vec<IpAddr>> = list
            .items
            .iter()
            .map(|service| {
                let name = service.metadata.name.clone().unwrap_or_default();
                (format!("{}/{name}", fixture.namespace), ingress_addresses(service))
            })
            .filter(|(_, addresses)| !addresses.is_empty())
            .collect();
        let allocated = sidecar.owners();
        let of_sidecar: BTreeMap<String, Vec<IpAddr>> =
            allocated.iter().map(|(owner, allocation)| (owner.service.clone(), allocation.addresses.clone())).collect();
        if has == of_sidecar && allocated.len() == of_sidecar.len() && has.len() >= owners {
            Ok(())
        } else {
            Err(format!("Services: {has:?}; sidecar: {allocated:?}"))
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn external_release_that_is_refused_is_told_and_holds_up_nobody() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "locked").await;
    let place = SidecarFiles::new(&cluster, "locked", &["198.51.100.80/29"]);
    let sidecar = place.run();
    fixture.group("locked", external(&place)).await;
    let _replica = leading(&cluster, "locked").await;
    fixture.allocate("web", "locked", "198.51.100.80").await;
    sidecar.set(Some(Habit::RefusesReleases));
    fixture.delete("web").await;
    fixture.condition("locked", "ReleasesPending", "True", "locked by an operator").await;
    recorded(&fixture, "/web", true).await;
    // Another owner of the name, whose wish counts.
    fixture.allocate("web", "locked", "198.51.100.81").await;
    // One that gets nothing either is told of both.
    sidecar.set(Some(Habit::Refuses));
    fixture.delete("web").await;
    fixture
        .allocation_fails("web", "locked", "waits until what an earlier Service of its name had is given back")
        .await;
    sidecar.set(None);
    agree(&fixture, &sidecar, 1).await;
    recorded(&fixture, "/web", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_answer_that_is_slow_concerns_one_service() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "slow").await;
    let place = SidecarFiles::new(&cluster, "slow", &["198.51.100.96/28"]);
    let sidecar = place.run();
    fixture.group("slow", external(&place)).await;
    let _replica = leading(&cluster, "slow").await;
    fixture.condition("slow", "Ready", "True", "answers").await;
    sidecar.set(Some(Habit::HangsFor("late".to_owned())));
    fixture.create("late", &[group("slow")], json!({})).await;
    for number in 0..8 {
        let begin = Instant::now();
        let name = format!("web-{number}");
        fixture.create(&name, &[group("slow")], json!({})).await;
        fixture.cluster.service_addresses(&fixture.namespace, &name, 1).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(2), "{name} took {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    fixture.fails("late", "no answer within 10s").await;
    fixture.condition("slow", "Ready", "True", "answers").await;
    fixture.group_status("slow", &json!({"allocatedIPv4": 8})).await;
    sidecar.set(None);
    agree(&fixture, &sidecar, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_address_in_use_outlives_every_edit_of_annotations() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "edits").await;
    let place = SidecarFiles::new(&cluster, "edits", &["198.51.100.112/29"]);
    let sidecar = place.run();
    fixture.group("edits", external(&place)).await;
    fixture.group("edits-own", remote("203.0.113.0/28")).await;
    let _replica = leading(&cluster, "edits").await;
    fixture.allocate("web", "edits", "198.51.100.112").await;
    let space = fixture.namespace.clone();
    for change in
        ["allocated-from-", "allocated-from=edits-own", "allocated-by-", "allocated-addresses-", "allocated-to=nobody"]
    {
        let change = format!("purelb.io/{change}");
        let annotate = ["annotate", "--overwrite", "--namespace", &space, "service", "web", &change];
        fixture.cluster.kubectl(&annotate).unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(sidecar.allocations().len(), 1, "{change}");
        fixture.has_within_a_minute("web", &["198.51.100.112"]).await;
    }
    // As `kubectl replace` of what somebody has in a file.
    let mut service = fixture.service("web").await;
    service.metadata.annotations = Some([("purelb.io/service-group".to_owned(), "edits".to_owned())].into());
    service.metadata.managed_fields = None;
    fixture.services().replace("web", &PostParams::default(), &service).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(sidecar.allocations().len(), 1);
    fixture.has_within_a_minute("web", &["198.51.100.112"]).await;
    fixture.delete("web").await;
    leases(&sidecar, 0).await;
}

/// What people do to the leases behind the sidecar's back.
fn edit_from_behind(place: &SidecarFiles, round: usize) {
    place.edit(|entries| {
        let Some(first) = entries.first().cloned() else { return };
        match round % 3 {
            // What a Service has is forgotten.
            0 => _ = entries.remove(0),
            // It is given one more.
            1 if !entries.iter().any(|entry| entry["addresses"].to_string().contains(LAST)) => {
                entries[0]["addresses"].as_array_mut().unwrap().push(json!(LAST));
            }
            // A Service that never was has something.
            2 if !entries.iter().any(|entry| entry["addresses"].to_string().contains(LAST)) => {
                let (service, uid) = ("shop/never", format!("never-{round}"));
                let never = json!({"service": service, "uid": uid, "addresses": [LAST]});
                let mut entry = first;
                entry.as_object_mut().unwrap().extend(never.as_object().unwrap().clone());
                entries.push(entry);
            }
            _ => {}
        }
    });
}

/// Services without an address, since when and whether they have been told.
#[derive(Default)]
struct Waits(BTreeMap<String, (Instant, bool)>);

impl Waits {
    /// Looks at the Services of the namespace, and at the events of those that wait for long.
    async fn look(&mut self, fixture: &Fixture<'_>) {
        let list = fixture.services().list(&ListParams::default()).await.unwrap();
        let waiting = list.items.iter().filter(|service| ingress_addresses(service).is_empty());
        let waiting: BTreeMap<String, String> = waiting
            .map(|service| (service.metadata.uid.clone().unwrap(), service.metadata.name.clone().unwrap()))
            .collect();
        self.0.retain(|uid, _| waiting.contains_key(uid));
        for (uid, name) in waiting {
            let (since, told) = self.0.entry(uid.clone()).or_insert_with(|| (Instant::now(), false));
            if !*told && since.elapsed() > TOLD_WITHIN {
                let events = fixture.events(&fixture.namespace, &name, "AllocationFailed").await;
                *told = events.iter().any(|event| event.involved_object.uid.as_ref() == Some(&uid));
                assert!(*told, "{name} has waited for {:?} and was not told why", since.elapsed());
            }
        }
    }
}

/// A sidecar that is slow, forgets, refuses, ends, comes back, and is edited from behind, while Services come and go and the
/// allocator is killed.
#[tokio::test(flavor = "multi_thread")]
async fn external_sidecar_and_services_agree_after_a_mixture_of_faults() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "mixture").await;
    let place = SidecarFiles::new(&cluster, "mixture", &["198.51.100.144/28"]);
    fixture.group("mixture", external(&place)).await;
    fixture.group("mixture-own", remote("203.0.113.0/28")).await;
    let mut sidecar = place.run();
    let mut replica = leading(&cluster, "mixture-0").await;
    let seconds = env::var("PURELB_IPAM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut round, mut waits) = (0, Waits::default());
    while Instant::now() < end {
        round += 1;
        let moods = [
            None,
            Some(Habit::HangsFor("s-3".to_owned())),
            Some(Habit::RefusesReleases),
            Some(Habit::Refuses),
            Some(Habit::Hangs),
            None,
        ];
        sidecar.set(moods[round % moods.len()].clone());
        for number in 0..6 {
            let name = format!("s-{}", (round * 5 + number) % 11);
            if fixture.services().get_opt(&name).await.unwrap().is_some() {
                let _ = fixture.services().delete(&name, &DeleteParams::default()).await;
            } else {
                fixture.create(&name, &[group("mixture")], json!({})).await;
            }
        }
        // Other groups are served as ever.
        let begin = Instant::now();
        let other = format!("own-{round}");
        fixture.create(&other, &[group("mixture-own")], json!({})).await;
        fixture.cluster.service_addresses(&fixture.namespace, &other, 1).await.unwrap();
        // A new leader reads everything first.
        assert!(begin.elapsed() < Duration::from_secs(5), "{other} took {:?}", begin.elapsed());
        fixture.delete(&other).await;
        waits.look(&fixture).await;
        if round % 2 == 0 {
            edit_from_behind(&place, round / 2);
        }
        if round % 4 == 0 {
            drop(sidecar);
            tokio::time::sleep(Duration::from_secs(1)).await;
            sidecar = place.run();
        }
        if round % 5 == 0 {
            replica.signal(Signal::SIGKILL).unwrap();
            replica = leading(&cluster, &format!("mixture-{round}")).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    sidecar.set(None);
    // What was edited since the last leader began is found by the next one.
    replica.signal(Signal::SIGKILL).unwrap();
    replica = leading(&cluster, "mixture-last").await;
    // A Service that comes now is served, and everything else is at rest.
    fixture.create("last", &[group("mixture")], json!({})).await;
    agree(&fixture, &sidecar, 1).await;
    recorded(&fixture, "/s-", false).await;
    drop(replica);
}
