//! An IPAM that gives addresses of fixed ranges and keeps its allocations in a file. It is for tests, and a start for an
//! IPAM of your own.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api_types::{AddressRange, Family};
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::message::{
    AllocateRequest, AllocateResponse, AllocatedIP, ReleaseRequest, ReleaseResponse, Selector, StatsRequest,
    StatsResponse, Target,
};
use crate::server::Ipam;

/// The allocation of one Service in one pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allocation {
    /// The sharing key; empty for none.
    pub key: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// The allocations of all pools, by pool and then by Service.
pub type Allocations = BTreeMap<String, BTreeMap<String, Allocation>>;

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
        let allocations = match file.as_deref().map(std::fs::read) {
            Some(Ok(bytes)) => serde_json::from_slice(&bytes)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => Allocations::default(),
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

    /// Changes the allocations, in the file first: what is answered to the allocator must survive this process.
    fn change(&self, change: impl FnOnce(&mut Allocations) -> Result<(), Status>) -> Result<(), Status> {
        let mut allocations = self.lock();
        let mut changed = allocations.clone();
        change(&mut changed)?;
        if changed == *allocations {
            return Ok(());
        }
        if let Some(file) = &self.file {
            let written = serde_json::to_vec(&changed).map_err(io::Error::from).and_then(|bytes| {
                let new = file.with_extension("new");
                std::fs::write(&new, bytes)?;
                std::fs::rename(new, file)
            });
            written.map_err(|error| Status::internal(format!("cannot write {}: {error}", file.display())))?;
        }
        *allocations = changed;
        Ok(())
    }

    fn allocate_in(&self, allocations: &mut Allocations, request: &AllocateRequest) -> Result<(), Status> {
        let ranges = self.ranges(&request.pool)?;
        let Some(Selector::Families(wanted)) = &request.selector else {
            return Err(Status::unimplemented("this sidecar gives addresses by family only"));
        };
        let pool = allocations.entry(request.pool.clone()).or_default();
        let mut allocation = pool.get(&request.service).cloned().unwrap_or_default();
        allocation.key.clone_from(&request.sharing_key);
        for (family, wants) in [(Family::V4, wanted.want_ipv4), (Family::V6, wanted.want_ipv6)] {
            if wants && !allocation.addresses.iter().any(|&address| Family::of(address) == family) {
                allocation.addresses.push(find_address(pool, ranges, family, &allocation.key).ok_or_else(|| {
                    Status::resource_exhausted(format!("pool {:?} has no free {family} address", request.pool))
                })?);
            }
        }
        pool.insert(request.service.clone(), allocation);
        Ok(())
    }
}

/// An address of the key, or the lowest free one.
fn find_address(
    pool: &BTreeMap<String, Allocation>,
    ranges: &[AddressRange],
    family: Family,
    key: &str,
) -> Option<IpAddr> {
    let of_family =
        |allocation: &Allocation| allocation.addresses.iter().copied().find(|&address| Family::of(address) == family);
    let sharer = pool.values().filter(|allocation| !key.is_empty() && allocation.key == key).find_map(of_family);
    let taken = |address: IpAddr| pool.values().any(|allocation| allocation.addresses.contains(&address));
    let free = || {
        let ranges = ranges.iter().filter(|range| range.family() == family);
        ranges.flat_map(|&range| addresses(range)).find(|&address| !taken(address))
    };
    sharer.or_else(free)
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
        let allocation = allocations.get(&request.pool).and_then(|pool| pool.get(&request.service));
        let ips = allocation.into_iter().flat_map(|allocation| &allocation.addresses);
        Ok(AllocateResponse { ips: ips.map(|address| AllocatedIP { ip: address.to_string() }).collect() })
    }

    async fn release(&self, request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        self.change(|allocations| {
            let Some(pool) = allocations.get_mut(&request.pool) else { return Ok(()) };
            match &request.target {
                Some(Target::All(true)) => drop(pool.remove(&request.service)),
                Some(Target::Ip(text)) => {
                    let gone: IpAddr =
                        text.parse().map_err(|_| Status::invalid_argument("target.ip is not an IP address"))?;
                    if let Some(allocation) = pool.get_mut(&request.service) {
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
        let allocations = self.lock();
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
        })
    }
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
        }
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
        let stats = example.stats(StatsRequest { pool: "front".to_owned() }).await.unwrap();
        assert_eq!((stats.in_use_v4, stats.size_v4, stats.in_use_v6, stats.size_v6), (2, 2, 1, 4));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_release_may_be_repeated_and_allocations_outlive_the_process() {
        let file = std::env::temp_dir().join(format!("purelb-example-{}", std::process::id()));
        let example = Example::new(pools(), Some(file.clone())).unwrap();
        given(&example, allocate_request("shop/a", "", true, true)).await;
        given(&example, allocate_request("shop/b", "", true, false)).await;
        let release =
            |target| ReleaseRequest { pool: "front".to_owned(), service: "shop/a".to_owned(), target: Some(target) };
        for _ in 0..2 {
            example.release(release(Target::Ip("2001:db8::".to_owned()))).await.unwrap();
        }
        let again = Example::new(pools(), Some(file.clone())).unwrap();
        assert_eq!(again.allocations(), example.allocations());
        assert_eq!(again.allocations()["front"]["shop/a"].addresses.len(), 1);
        for _ in 0..2 {
            again.release(release(Target::All(true))).await.unwrap();
        }
        assert_eq!(again.allocations()["front"].len(), 1);
        assert!(again.release(release(Target::All(false))).await.is_err());
        std::fs::remove_file(file).unwrap();
    }
}
