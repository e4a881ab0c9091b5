//! What the example gives, keeps and takes back.

use super::*;
use crate::message::FamilyRequest;

fn pools() -> BTreeMap<String, Vec<AddressRange>> {
    let ranges = ["192.0.2.1-192.0.2.2", "2001:db8::/126"].map(|range| range.parse().unwrap());
    BTreeMap::from([("front".to_owned(), ranges.into())])
}

fn allocate_request(service: &str, key: &str, v4: bool, v6: bool) -> AllocateRequest {
    AllocateRequest {
        pool: "front".to_owned(),
        service: service.to_owned(),
        sharing_key: key.to_owned(),
        selector: Some(Selector::Families(FamilyRequest { want_ipv4: v4, want_ipv6: v6 })),
        cluster: "here".to_owned(),
        service_uid: format!("uid of {service}"),
    }
}

fn release_request(service: &str, target: Target) -> ReleaseRequest {
    ReleaseRequest {
        pool: "front".to_owned(),
        service: service.to_owned(),
        target: Some(target),
        cluster: "here".to_owned(),
        service_uid: format!("uid of {service}"),
    }
}

fn of(example: &Example, service: &str) -> usize {
    let owner = owner("here", service, &format!("uid of {service}"));
    example.allocations()["front"].get(&owner).map_or(0, |allocation| allocation.addresses.len())
}

async fn given(example: &Example, request: AllocateRequest) -> Vec<String> {
    example.allocate(request).await.unwrap().ips.into_iter().map(|address| address.ip).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn asked_again_it_gives_the_same_and_what_is_missing() {
    let example = Example::new(pools(), None).unwrap();
    assert_eq!(given(&example, allocate_request("shop/a", "", true, false)).await, ["192.0.2.1"]);
    assert_eq!(given(&example, allocate_request("shop/a", "", true, true)).await, ["192.0.2.1", "2001:db8::"]);
    assert_eq!(given(&example, allocate_request("shop/b", "k", true, false)).await, ["192.0.2.2"]);
    assert_eq!(given(&example, allocate_request("shop/c", "k", true, false)).await, ["192.0.2.2"]);
    let full = example.allocate(allocate_request("shop/d", "", true, false)).await.unwrap_err();
    assert_eq!(full.code(), tonic::Code::ResourceExhausted);
    let other = AllocateRequest { pool: "back".to_owned(), ..allocate_request("shop/d", "", true, false) };
    assert_eq!(example.allocate(other).await.unwrap_err().code(), tonic::Code::NotFound);
    let request = StatsRequest { pool: "front".to_owned(), cluster: "here".to_owned() };
    let stats = example.stats(request).await.unwrap();
    assert_eq!((stats.in_use_v4, stats.size_v4, stats.in_use_v6, stats.size_v6), (2, 2, 1, 4));
}

#[tokio::test(flavor = "current_thread")]
async fn a_release_may_be_repeated_and_allocations_outlive_the_process() {
    let file = std::env::temp_dir().join(format!("purelb-example-{}", std::process::id()));
    let example = Example::new(pools(), Some(file.clone())).unwrap();
    given(&example, allocate_request("shop/a", "", true, true)).await;
    given(&example, allocate_request("shop/b", "", true, false)).await;
    for _ in 0..2 {
        example.release(release_request("shop/a", Target::Ip("2001:db8::".to_owned()))).await.unwrap();
    }
    let again = Example::new(pools(), Some(file.clone())).unwrap();
    assert_eq!(again.allocations(), example.allocations());
    assert_eq!((of(&again, "shop/a"), of(&again, "shop/b")), (1, 1));
    for _ in 0..2 {
        again.release(release_request("shop/a", Target::All(true))).await.unwrap();
    }
    assert_eq!((of(&again, "shop/a"), of(&again, "shop/b")), (0, 1));
    assert!(again.release(release_request("shop/a", Target::All(false))).await.is_err());
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn two_clusters_share_nothing_and_a_new_service_of_a_name_is_another_owner() {
    let example = Example::new(pools(), None).unwrap();
    let mine = allocate_request("shop/a", "k", true, false);
    assert_eq!(given(&example, mine.clone()).await, ["192.0.2.1"]);
    let theirs = AllocateRequest { cluster: "there".to_owned(), ..mine.clone() };
    assert_eq!(given(&example, theirs.clone()).await, ["192.0.2.2"]);
    let release = ReleaseRequest { cluster: "there".to_owned(), ..release_request("shop/a", Target::All(true)) };
    example.release(release).await.unwrap();
    assert_eq!(of(&example, "shop/a"), 1);
    let anew = AllocateRequest { service_uid: "another".to_owned(), sharing_key: String::new(), ..mine };
    assert_eq!(given(&example, anew).await, ["192.0.2.2"]);
    example.release(release_request("shop/a", Target::All(true))).await.unwrap();
    assert_eq!(given(&example, theirs).await, ["192.0.2.1"]);
}

#[tokio::test(flavor = "current_thread")]
async fn what_an_older_allocator_asked_for_belongs_to_the_first_that_says_who_asks() {
    let file = std::env::temp_dir().join(format!("purelb-example-old-{}", std::process::id()));
    // As an older release of this example wrote it.
    let old = r#"{"front": {"shop/a": {"key": "", "addresses": ["192.0.2.2"]}}}"#;
    std::fs::write(&file, old).unwrap();
    let example = Example::new(pools(), Some(file.clone())).unwrap();
    let without = AllocateRequest {
        cluster: String::new(),
        service_uid: String::new(),
        ..allocate_request("shop/a", "", true, false)
    };
    assert_eq!(given(&example, without.clone()).await, ["192.0.2.2"]);
    assert_eq!(given(&example, allocate_request("shop/a", "", true, false)).await, ["192.0.2.2"]);
    // An older allocator that comes back is another owner: it frees nothing that is in use.
    let release = ReleaseRequest {
        cluster: String::new(),
        service_uid: String::new(),
        ..release_request("shop/a", Target::All(true))
    };
    example.release(release).await.unwrap();
    assert_eq!(of(&example, "shop/a"), 1);
    assert_eq!(given(&example, without).await, ["192.0.2.1"]);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn two_processes_with_one_file_give_no_address_twice() {
    let file = std::env::temp_dir().join(format!("purelb-example-two-{}", std::process::id()));
    let (old, new) =
        (Example::new(pools(), Some(file.clone())).unwrap(), Example::new(pools(), Some(file.clone())).unwrap());
    assert_eq!(given(&old, allocate_request("shop/a", "", true, false)).await, ["192.0.2.1"]);
    assert_eq!(given(&new, allocate_request("shop/b", "", true, false)).await, ["192.0.2.2"]);
    assert_eq!(given(&new, allocate_request("shop/a", "", true, false)).await, ["192.0.2.1"]);
    let request = StatsRequest { pool: "front".to_owned(), cluster: "here".to_owned() };
    assert_eq!(old.stats(request).await.unwrap().in_use_v4, 2);
    for extension in ["", "lock"] {
        std::fs::remove_file(file.with_extension(extension)).unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_cluster_sees_what_it_has_page_by_page() {
    let large = BTreeMap::from([("front".to_owned(), vec!["10.0.0.0/20".parse().unwrap()])]);
    let example = Example::new(large, None).unwrap();
    for number in 0..PAGE + 2 {
        given(&example, allocate_request(&format!("shop/{number}"), "", true, false)).await;
    }
    let theirs = AllocateRequest { cluster: "there".to_owned(), ..allocate_request("shop/0", "", true, false) };
    given(&example, theirs).await;
    let request = |page| ListRequest { pool: "front".to_owned(), cluster: "here".to_owned(), page };
    let first = example.list(request(String::new())).await.unwrap();
    let second = example.list(request(first.next.clone())).await.unwrap();
    assert_eq!((first.allocations.len(), second.allocations.len(), &*second.next), (PAGE, 2, ""));
    let all = first.allocations.iter().chain(&second.allocations);
    let services: std::collections::BTreeSet<&str> = all.map(|listed| listed.service.as_str()).collect();
    assert_eq!(services.len(), PAGE + 2);
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_service_has_is_registered_unless_somebody_else_has_it() {
    let example = Example::new(pools(), None).unwrap();
    let explicit = |service: &str, ips: &[&str]| AllocateRequest {
        selector: Some(Selector::Explicit(crate::message::ExplicitIPs {
            ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        })),
        ..allocate_request(service, "", false, false)
    };
    assert_eq!(given(&example, explicit("shop/a", &["192.0.2.2"])).await, ["192.0.2.2"]);
    assert_eq!(given(&example, explicit("shop/a", &["192.0.2.2", "2001:db8::1"])).await.len(), 2);
    for ips in [&["192.0.2.1", "192.0.2.2"][..], &["198.51.100.1"], &["x"], &[]] {
        assert!(example.allocate(explicit("shop/b", ips)).await.is_err(), "{ips:?}");
    }
    assert_eq!(of(&example, "shop/b"), 0);
}
