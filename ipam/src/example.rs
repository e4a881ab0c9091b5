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
mod tests;
