//! A foreign host uses an address.

use e2e::BenchResult as Result;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use e2e::{ForeignHost, Mac};

use crate::rows::steps::{AFTERWARDS, TAKEOVER, pass};
use crate::{
    bench::Bench,
    figures::{Sample, first_wrong_if},
    service::{SERVICE, SPACE, service, slices},
    watch::Watch,
};

/// The reason of the Kubernetes event.
const CONFLICT: &str = "AddressConflict";

/// The Service whose addresses a foreign host already has.
const LATE: &str = "late";

/// Its addresses.
const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 168, 50, 229)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x50, 0, 0, 0, 0, 0, 0x2ff))];

/// A foreign host has the addresses before the Service gets them, and leaves 10 s later.
pub(super) async fn before_us(bench: &Bench) -> Result<Vec<Sample>> {
    let foreign = both(bench, ADDRESSES)?;
    let mac = foreign.first().map(ForeignHost::mac).ok_or("no foreign host")?;
    let watch = Watch::start(bench, ADDRESSES)?;
    bench.cluster.apply(&service(LATE, ADDRESSES))?;
    bench.cluster.apply(&slices(LATE))?;
    let samples = taken_before(bench, foreign, mac, watch).await;
    let delete = ["delete", "service", LATE, "--namespace", SPACE, "--ignore-not-found", "--timeout=30s"];
    bench.cluster.kubectl(&delete)?;
    samples
}

async fn taken_before(bench: &Bench, foreign: Vec<ForeignHost>, mac: Mac, watch: Watch<'_>) -> Result<Vec<Sample>> {
    bench.cluster.service_addresses(SPACE, LATE, 2).await?;
    pass(Duration::from_secs(10)).await;
    let others = watch.answering().iter().any(|macs| macs.iter().any(|other| *other != mac));
    let named = names(bench, LATE, mac).await?;
    let left = Instant::now();
    foreign.into_iter().try_for_each(ForeignHost::leave)?;
    let claimed = watch.answered(TAKEOVER).await;
    let to = Instant::now();
    let samples = watch.end(&[("before", left, to)])?;
    let samples = first_wrong_if(others, "claimed while the foreign host answered", samples);
    let samples = first_wrong_if(!named, "no event with the foreign host's MAC", samples);
    Ok(first_wrong_if(!claimed, "not claimed after the foreign host left", samples))
}

/// A foreign host begins to use the Service's addresses, and announces them every second for 25 s.
pub(super) async fn after_us(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?.mac();
    // Wait until the owner has sent its announcements, which takes ten seconds after a claim.
    pass(Duration::from_secs(11)).await;
    let from = Instant::now();
    let foreign = both(bench, bench.addresses)?;
    for _ in 0..25 {
        foreign.iter().try_for_each(ForeignHost::announce)?;
        pass(Duration::from_secs(1)).await;
    }
    let [v4, v6] = watch.announced(owner, from);
    // An IPv4 address is announced in two forms, request and reply.
    let v4 = v4.div_ceil(2);
    let mac = foreign.first().map(ForeignHost::mac).ok_or("no foreign host")?;
    let named = names(bench, SERVICE, mac).await?;
    let still = watch.answering().iter().all(|macs| macs.contains(&owner));
    foreign.into_iter().try_for_each(ForeignHost::leave)?;
    pass(AFTERWARDS).await;
    let to = Instant::now();
    let defences = format!("announced {v4} and {v6} times in 25 s");
    let samples: Vec<_> =
        watch.end(&[("after", from, to)])?.into_iter().map(|sample| sample.noted(&defences)).collect();
    let defended = [v4, v6].iter().all(|times| (1..=3).contains(times));
    let samples = first_wrong_if(!defended, &format!("{defences}, not 1 to 3 times"), samples);
    let samples = first_wrong_if(!named, &format!("{defences}; no event with the foreign host's MAC"), samples);
    Ok(first_wrong_if(!still, &format!("{defences}; given up"), samples))
}

fn both(bench: &Bench, addresses: [IpAddr; 2]) -> Result<Vec<ForeignHost>> {
    Ok(addresses.into_iter().map(|address| bench.cluster.foreign_host(address)).collect::<e2e::Result<_>>()?)
}

/// Whether an event about the Service names the host.
async fn names(bench: &Bench, service: &str, mac: Mac) -> Result<bool> {
    Ok(bench.events(service, CONFLICT).await?.iter().any(|message| message.contains(&mac.to_string())))
}
