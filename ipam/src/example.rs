//! An IPAM that gives addresses of fixed ranges and keeps its allocations in a file. It is for tests, and a start for an
//! IPAM of your own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api_types::{AddressRange, Family};
use tonic::Status;

use crate::allocations::{Allocation, Allocations, Owner};
use crate::message::{
    AllocateRequest, AllocateResponse, AllocatedIP, ListRequest, ListResponse, ListedAllocation, ReleaseRequest,
    ReleaseResponse, Selector, StatsRequest, StatsResponse, Target,
};
use crate::server::Ipam;
use crate::state_file::{lock, read, write};

/// How many allocations are listed at once.
const PAGE: usize = 500;

/// Ranges, and the allocations from them.
#[derive(Debug)]
pub struct Example {
    pools: BTreeMap<String, Vec<AddressRange>>,
    /// Keeps the allocations. Without it they are lost with the process.
    file: Option<PathBuf>,
    allocations: Mutex<Allocations>,
}

impl Example {
    /// Reads the allocations from the file, if it exists.
    ///
    /// # Errors
    /// The file cannot be read, or does not hold allocations.
    pub fn new(pools: BTreeMap<String, Vec<AddressRange>>, file: Option<PathBuf>) -> io::Result<Self> {
        let allocations = match &file {
            Some(file) => read(file)?,
            None => Allocations::default(),
        };
        Ok(Self { pools, file, allocations: Mutex::new(allocations) })
    }

    /// The present allocations.
    #[must_use]
    pub fn allocations(&self) -> Allocations {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Allocations> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ranges(&self, pool: &str) -> Result<&[AddressRange], Status> {
        let found = self.pools.get(pool).map(Vec::as_slice);
        found.ok_or_else(|| Status::not_found(format!("this sidecar has no pool {pool:?}")))
    }

    /// Changes the allocations, in the file first: what is answered to the allocator must survive this process. While the
    /// allocator is replaced, two processes may have the file: the one that is asked counts.
    fn change(&self, change: impl FnOnce(&mut Allocations) -> Result<(), Status>) -> Result<(), Status> {
        let mut allocations = self.lock();
        let _locked = self.reread(&mut allocations).map_err(|error| self.file_failed(&error))?;
        let mut changed = allocations.clone();
        change(&mut changed)?;
        if changed == *allocations {
            return Ok(());
        }
        if let Some(file) = &self.file {
            write(file, &changed).map_err(|error| self.file_failed(&error))?;
        }
        *allocations = changed;
        Ok(())
    }

    /// Takes over what another process has written. No other one writes until the returned lock is dropped.
    fn reread(&self, allocations: &mut Allocations) -> io::Result<Option<File>> {
        let Some(file) = &self.file else { return Ok(None) };
        let locked = lock(file)?;
        *allocations = read(file)?;
        Ok(Some(locked))
    }

    fn file_failed(&self, error: &io::Error) -> Status {
        let file = self.file.as_deref().unwrap_or(Path::new("")).display();
        Status::internal(format!("the allocations cannot be kept in {file}: {error}"))
    }

    fn allocate_in(&self, allocations: &mut Allocations, request: &AllocateRequest) -> Result<(), Status> {
        let ranges = self.ranges(&request.pool)?;
        let pool = allocations.entry(request.pool.clone()).or_default();
        let owner = owner(&request.cluster, &request.service, &request.service_uid);
        adopt(pool, &owner);
        let mut allocation = pool.get(&owner).cloned().unwrap_or_default();
        allocation.key.clone_from(&request.sharing_key);
        match &request.selector {
            Some(Selector::Families(wanted)) => {
                for (family, wants) in [(Family::V4, wanted.want_ipv4), (Family::V6, wanted.want_ipv6)] {
                    if wants && !allocation.addresses.iter().any(|&address| Family::of(address) == family) {
                        let found = find_address(pool, ranges, family, &owner, &allocation.key).ok_or_else(|| {
                            Status::resource_exhausted(format!("pool {:?} has no free {family} address", request.pool))
                        })?;
                        allocation.addresses.push(found);
                    }
                }
            }
            Some(Selector::Explicit(wanted)) => {
                for text in &wanted.ips {
                    let address = check_explicit(pool, ranges, &owner, &allocation.key, text)?;
                    if !allocation.addresses.contains(&address) {
                        allocation.addresses.push(address);
                    }
                }
            }
            None => {}
        }
        if allocation.addresses.is_empty() {
            return Err(Status::invalid_argument("the request is for no address"));
        }
        pool.insert(owner, allocation);
        Ok(())
    }
}

fn owner(cluster: &str, service: &str, uid: &str) -> Owner {
    Owner { cluster: cluster.to_owned(), service: service.to_owned(), uid: uid.to_owned() }
}

/// What the Service got from an older allocator, which did not say whose it is, belongs to the first that says so.
fn adopt(pool: &mut BTreeMap<Owner, Allocation>, owner: &Owner) {
    let unknown = Owner { service: owner.service.clone(), ..Owner::default() };
    if !pool.contains_key(owner)
        && let Some(allocation) = pool.remove(&unknown)
    {
        pool.insert(owner.clone(), allocation);
    }
}

/// An address of the key within the cluster, or the lowest free one.
fn find_address(
    pool: &BTreeMap<Owner, Allocation>,
    ranges: &[AddressRange],
    family: Family,
    owner: &Owner,
    key: &str,
) -> Option<IpAddr> {
    let of_family =
        |allocation: &Allocation| allocation.addresses.iter().copied().find(|&address| Family::of(address) == family);
    let may_share = |(other, allocation): &(&Owner, &Allocation)| {
        !key.is_empty() && allocation.key == key && other.cluster == owner.cluster
    };
    let shared = pool.iter().filter(may_share).find_map(|(_, allocation)| of_family(allocation));
    let taken = |address: IpAddr| pool.values().any(|allocation| allocation.addresses.contains(&address));
    let free = || {
        let ranges = ranges.iter().filter(|range| range.family() == family);
        ranges.flat_map(|&range| addresses(range)).find(|&address| !taken(address))
    };
    shared.or_else(free)
}

/// An address that a Service has by its own words, if nobody else has it.
fn check_explicit(
    pool: &BTreeMap<Owner, Allocation>,
    ranges: &[AddressRange],
    owner: &Owner,
    key: &str,
    text: &str,
) -> Result<IpAddr, Status> {
    let address: IpAddr =
        text.parse().map_err(|_| Status::invalid_argument(format!("{text:?} is not an IP address")))?;
    if !ranges.iter().any(|range| range.contains(address)) {
        return Err(Status::invalid_argument(format!("{address} is in no range of the pool")));
    }
    let may_share = |other: &Owner, allocation: &Allocation| {
        !key.is_empty() && other.cluster == owner.cluster && allocation.key == key
    };
    let holder = pool.iter().find(|(other, allocation)| {
        *other != owner && allocation.addresses.contains(&address) && !may_share(other, allocation)
    });
    match holder {
        Some((other, _)) => Err(Status::failed_precondition(format!("{} has {address}", other.service))),
        None => Ok(address),
    }
}

fn addresses(range: AddressRange) -> Box<dyn Iterator<Item = IpAddr>> {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Box::new((u32::from(first)..=u32::from(last)).map(|bits| IpAddr::V4(bits.into())))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Box::new((u128::from(first)..=u128::from(last)).map(|bits| IpAddr::V6(bits.into())))
        }
        _ => Box::new(std::iter::empty()),
    }
}

impl Ipam for Example {
    async fn allocate(&self, request: AllocateRequest) -> Result<AllocateResponse, Status> {
        self.change(|allocations| self.allocate_in(allocations, &request))?;
        let allocations = self.lock();
        let owner = owner(&request.cluster, &request.service, &request.service_uid);
        let allocation = allocations.get(&request.pool).and_then(|pool| pool.get(&owner));
        let ips = allocation.into_iter().flat_map(|allocation| &allocation.addresses);
        Ok(AllocateResponse { ips: ips.map(|address| AllocatedIP { ip: address.to_string() }).collect() })
    }

    async fn release(&self, request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        self.change(|allocations| {
            let Some(pool) = allocations.get_mut(&request.pool) else { return Ok(()) };
            let owner = owner(&request.cluster, &request.service, &request.service_uid);
            adopt(pool, &owner);
            match &request.target {
                Some(Target::All(true)) => drop(pool.remove(&owner)),
                Some(Target::Ip(text)) => {
                    let gone: IpAddr =
                        text.parse().map_err(|_| Status::invalid_argument("target.ip is not an IP address"))?;
                    if let Some(allocation) = pool.get_mut(&owner) {
                        allocation.addresses.retain(|address| *address != gone);
                    }
                    pool.retain(|_, allocation| !allocation.addresses.is_empty());
                }
                _ => return Err(Status::invalid_argument("target is missing: set ip or all")),
            }
            Ok(())
        })?;
        Ok(ReleaseResponse {})
    }

    async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        let ranges = self.ranges(&request.pool)?;
        let mut allocations = self.lock();
        self.reread(&mut allocations).map_err(|error| self.file_failed(&error))?;
        let mut used: Vec<IpAddr> = Vec::new();
        for allocation in allocations.get(&request.pool).into_iter().flat_map(BTreeMap::values) {
            used.extend(&allocation.addresses);
        }
        used.sort();
        used.dedup();
        let in_use = |family| u64::try_from(used.iter().filter(|a| Family::of(**a) == family).count());
        let size = |family| {
            let sizes = ranges.iter().filter(|range| range.family() == family).map(|range| range.size());
            u64::try_from(sizes.fold(0_u128, u128::saturating_add)).unwrap_or(u64::MAX)
        };
        Ok(StatsResponse {
            in_use_v4: in_use(Family::V4).unwrap_or(u64::MAX),
            in_use_v6: in_use(Family::V6).unwrap_or(u64::MAX),
            size_v4: size(Family::V4),
            size_v6: size(Family::V6),
            has_known_capacity: true,
            display_addresses: ranges.iter().map(|range| format!("{}-{}", range.first(), range.last())).collect(),
            keeps_owners: true,
        })
    }

    async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        self.ranges(&request.pool)?;
        let mut allocations = self.lock();
        self.reread(&mut allocations).map_err(|error| self.file_failed(&error))?;
        let of_pool = allocations.get(&request.pool).into_iter().flatten();
        let of_cluster = of_pool.filter(|(owner, _)| owner.cluster == request.cluster);
        let mut after = of_cluster.filter(|(owner, _)| page(owner) > request.page);
        let some: Vec<(&Owner, &Allocation)> = after.by_ref().take(PAGE).collect();
        let last = some.last().map(|(owner, _)| page(owner)).filter(|_| after.next().is_some());
        let listed = some.into_iter().map(|(owner, allocation)| ListedAllocation {
            cluster: owner.cluster.clone(),
            service: owner.service.clone(),
            service_uid: owner.uid.clone(),
            ips: allocation.addresses.iter().map(ToString::to_string).collect(),
        });
        Ok(ListResponse { allocations: listed.collect(), next: last.unwrap_or_default() })
    }
}

/// Names the page that begins behind the owner. Owners are in the same order.
fn page(owner: &Owner) -> String {
    format!("{}\0{}", owner.service, owner.uid)
}

#[cfg(test)]
mod tests {
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
}
