//! Hosts and datagrams from outside the cluster.

use std::time::{Duration, Instant};

use e2e::{
    ForeignHost, GOSSIP_PORT, NAMESPACE, eventually,
    testing::{Applied, DEADLINE, SETTLE_TIME, installed, object, wait_for_event},
};

use crate::failover::local_service::{LocalService, owner_goes_and_comes_back, pair, service};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_a_foreign_host_uses_is_left_alone_until_it_leaves() {
    let cluster = installed().await;
    // It brings the pools, and its own addresses are not disputed.
    let local = LocalService::new(&cluster, "undisputed").await;
    let addresses = pair(&cluster, 225);
    let foreign = addresses.map(|address| cluster.foreign_host(address).unwrap());
    let mac = foreign[0].mac();
    let monitors = addresses.map(|address| cluster.client().monitor(address).unwrap());
    let from = Instant::now();
    let _service = Applied::yaml(&cluster, &service("disputed", addresses, "Cluster"));
    wait_for_event(&cluster, "default", "disputed", "AddressConflict", &mac.to_string()).await;
    tokio::time::sleep(SETTLE_TIME).await;
    for (address, monitor) in addresses.iter().zip(&monitors) {
        let macs = monitor.so_far().macs();
        assert_eq!(macs, [mac].into(), "{address} was claimed against a living host");
    }
    local.assert_undisturbed(from);

    foreign.into_iter().try_for_each(ForeignHost::leave).unwrap();
    let left = Instant::now();
    eventually(DEADLINE, "a node that answers", async || {
        let macs = monitors.each_ref().map(|monitor| monitor.steady(Duration::from_millis(500)));
        if macs.iter().all(Option::is_some) { Ok(()) } else { Err(format!("{macs:?}")) }
    })
    .await
    .unwrap();
    assert!(left.elapsed() < Duration::from_secs(15), "claimed only after {:?}", left.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_that_takes_our_address_is_named_and_gets_no_flood_in_return() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "taken").await;
    let owner = local.owner();
    // What it announces after a claim is over.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let from = Instant::now();
    let foreign = local.addresses.map(|address| cluster.foreign_host(address).unwrap());
    for _ in 0..8 {
        foreign.iter().try_for_each(ForeignHost::announce).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    wait_for_event(&cluster, "default", local.name, "AddressConflict", &foreign[0].mac().to_string()).await;
    for (address, observed) in local.addresses.iter().zip(local.since(from)) {
        let announced = observed.announcements().filter(|(_, mac)| *mac == owner.mac()).count();
        assert!((1..=2).contains(&announced), "{address} was defended {announced} times within 8 s");
        assert!(observed.macs().contains(&owner.mac()), "{address} was given up");
    }
    foreign.into_iter().try_for_each(ForeignHost::leave).unwrap();
    local.answered_by(|macs| macs == [owner.mac(); 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_repeated_datagrams_and_a_new_key_change_nothing() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "forged").await;
    let from = Instant::now();
    let mut delivered = 0;
    for node in cluster.nodes() {
        let datagrams = node.capture_datagrams(GOSSIP_PORT, 30, Duration::from_secs(2)).unwrap();
        let mut forged = datagrams.clone();
        for datagram in &datagrams {
            let payload = datagram.payload();
            let mut flipped = payload.to_vec();
            if let Some(last) = flipped.last_mut() {
                *last ^= 1;
            }
            let halves = payload.split_at(payload.len() / 2);
            let too_long = payload.repeat(1400 / payload.len().max(1));
            let random: Vec<u8> =
                (0..=255_u8).map(|place| place.wrapping_mul(167)).cycle().take(payload.len()).collect();
            let payloads = [&flipped[..], halves.0, halves.1, &too_long, &random, &[]];
            forged.extend(payloads.map(|payload| datagram.with_payload(payload)));
        }
        node.inject_datagrams(&forged).unwrap();
        delivered += forged.len();
    }
    assert!(delivered > 0, "no agent sent anything to another on port {GOSSIP_PORT}");
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);

    // A new key, the old one accepted for a time: the agents learn of it one after the other.
    let secret = || object(&cluster, &["secret", "purelb-gossip", "--namespace", NAMESPACE])["data"].clone();
    let old = secret();
    let current = old["current"].as_str().unwrap();
    let new = current.chars().rev().filter(|letter| *letter != '=').collect::<String>();
    let padded = format!("{new}{}", "=".repeat(current.len() - new.len()));
    let patch = serde_json::json!({"data": {"current": padded, "previous": current}}).to_string();
    cluster.kubectl(&["patch", "secret", "purelb-gossip", "--namespace", NAMESPACE, "--patch", &patch]).unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);
    // They understand each other: when the owner goes, another takes over.
    owner_goes_and_comes_back(&local).await;
}
