//! Several ranges in a group: one after the other, one address of each, or balanced.

use api_types::service::ingress_addresses;
use e2e::{
    eventually,
    testing::{DEADLINE, installed},
};
use serde_json::json;

use crate::support::fixture::{Fixture, group, pool};

const FIRST: (&str, &str) = ("203.0.113.8-203.0.113.9", "203.0.113.0/25");
const SECOND: (&str, &str) = ("203.0.113.200-203.0.113.203", "203.0.113.128/25");

fn ranges() -> serde_json::Value {
    json!([pool(FIRST.0, FIRST.1), pool(SECOND.0, SECOND.1)])
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_lowest_free_of_the_first_that_has_any() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "several").await;
    // The list comes first, then the single one.
    let single = pool("203.0.113.2-203.0.113.3", FIRST.1);
    let six = json!([pool("2001:db8:4::/127", "2001:db8:4::/64"), pool("2001:db8:5::/127", "2001:db8:5::/64")]);
    fixture.group("several", json!({"remote": {"v4pools": ranges(), "v4pool": single, "v6pools": six}})).await;
    let four = [
        "203.0.113.8",
        "203.0.113.9",
        "203.0.113.200",
        "203.0.113.201",
        "203.0.113.202",
        "203.0.113.203",
        "203.0.113.2",
    ];
    for (number, address) in four.iter().enumerate() {
        fixture.create(&format!("v4-{number}"), &[group("several")], json!({})).await;
        fixture.has(&format!("v4-{number}"), &[address]).await;
    }
    for (number, address) in ["2001:db8:4::", "2001:db8:4::1", "2001:db8:5::"].iter().enumerate() {
        fixture.create(&format!("v6-{number}"), &[group("several")], json!({"ipFamilies": ["IPv6"]})).await;
        fixture.has(&format!("v6-{number}"), &[address]).await;
    }
    fixture.delete("v4-1").await;
    fixture.allocate("again", "several", "203.0.113.9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multi_pool_one_address_of_each_range() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "multi").await;
    fixture.group("multi", json!({"remote": {"v4pools": ranges(), "multiPool": true}})).await;
    fixture.create("web", &[group("multi")], json!({})).await;
    fixture.has("web", &["203.0.113.8", "203.0.113.200"]).await;
    // The annotation decides, both ways.
    fixture.create("off", &[group("multi"), ("multi-pool", "false")], json!({})).await;
    fixture.has("off", &["203.0.113.9"]).await;
    // The first range is full: the second alone will do.
    fixture.allocate("rest", "multi", "203.0.113.201").await;
    assert!(fixture.metric("purelb_address_pool_multipool_allocations_total{pool=\"multi\"}").await >= 2.0);
    assert!(fixture.metric("purelb_address_pool_multipool_partial_total{pool=\"multi\"}").await >= 1.0);
    fixture.create("shared", &[group("multi"), ("allow-shared-ip", "key")], json!({})).await;
    fixture.fails("shared", "sharing key").await;
    assert!(
        fixture
            .metric("purelb_address_pool_allocation_rejected_total{pool=\"<unknown>\",reason=\"multipool_refused\"}")
            .await
            >= 1.0
    );
    // A new range of the group is one more address for those that have it.
    fixture.delete("rest").await;
    let third = pool("203.0.113.64/30", FIRST.1);
    fixture.group("multi", json!({"remote": {"v4pools": ranges(), "v4pool": third, "multiPool": true}})).await;
    fixture.has("web", &["203.0.113.8", "203.0.113.200", "203.0.113.64"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multi_pool_takes_ranges_where_nodes_are_and_more_when_one_joins() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "joins").await;
    // Written unlike the node's way: they are compared as networks.
    let ranges = json!([pool("203.0.113.8/30", "203.0.113.77/25"), pool(SECOND.0, SECOND.1)]);
    fixture.group("joins", json!({"local": {"v4pools": ranges, "multiPool": true}})).await;
    fixture.allocation_fails("web", "joins", "no available addresses").await;
    let _first = fixture.fake_node_lease("pretended1", "203.0.113.0/25").await;
    fixture.has("web", &["203.0.113.8"]).await;
    let second = fixture.fake_node_lease("pretended2", SECOND.1).await;
    fixture.has("web", &["203.0.113.8", "203.0.113.200"]).await;
    // Nobody is moved when it leaves, and newcomers get nothing there once the allocator has noticed.
    drop(second);
    eventually(DEADLINE, "a newcomer without an address where no node is", async || {
        fixture.create("next", &[group("joins")], json!({})).await;
        let found = eventually(DEADLINE, "addresses", async || {
            match ingress_addresses(&fixture.service("next").await).as_slice() {
                [] => Err("none"),
                addresses => Ok(addresses.to_vec()),
            }
        })
        .await
        .unwrap();
        if found.len() == 1 {
            return Ok(());
        }
        fixture.delete("next").await;
        Err(format!("{found:?}"))
    })
    .await
    .unwrap();
    fixture.has("next", &["203.0.113.9"]).await;
    fixture.has("web", &["203.0.113.8", "203.0.113.200"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn balance_pools_takes_the_least_used_range() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "balance").await;
    fixture.group("balance", json!({"remote": {"v4pools": ranges(), "balancePools": true}})).await;
    for (name, address) in [
        ("a", "203.0.113.8"),
        ("b", "203.0.113.200"),
        ("c", "203.0.113.9"),
        ("d", "203.0.113.201"),
        ("e", "203.0.113.202"),
    ] {
        fixture.allocate(name, "balance", address).await;
    }
    fixture.metric_is("purelb_address_pool_balance_pools_allocations_total{pool=\"balance\"}", 5.0).await;
    fixture.create("multi", &[group("balance"), ("multi-pool", "true")], json!({})).await;
    fixture.fails("multi", "mutually exclusive").await;
    fixture.has("a", &["203.0.113.8"]).await;
}
