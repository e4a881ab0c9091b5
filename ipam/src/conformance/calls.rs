//! The calls of the checks, and what they compare.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::Code;

use crate::client::{CallError, Failure, Sidecar};
use crate::message::{
    AllocateRequest, FamilyRequest, ListRequest, ReleaseRequest, Selector, StatsRequest, StatsResponse, Target,
};

/// `Ok(Some(why))` if it was not tried.
pub(super) type Check = Result<Option<&'static str>, String>;

/// The addresses of owners, by Service and UID.
pub(super) type Listed = BTreeMap<(String, String), BTreeSet<IpAddr>>;

/// Who asks in a check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) uid: String,
}

/// The checks of one pool of one sidecar.
#[derive(Debug)]
pub struct Conformance {
    pub(super) sidecar: Sidecar,
    pub(super) pool: String,
    /// Differs from that of any other run.
    run: String,
    /// The families that the pool has.
    pub(super) families: FamilyRequest,
    /// Who has asked since the last clean-up.
    callers: Mutex<BTreeSet<Caller>>,
}

impl Conformance {
    /// Finds out which families the pool has. `run` differs from that of any other run.
    ///
    /// # Errors
    /// The sidecar gives no address of any family, with its words.
    pub async fn begin(sidecar: Sidecar, pool: &str, run: &str) -> Result<Self, String> {
        let none = FamilyRequest { want_ipv4: false, want_ipv6: false };
        let (pool_name, run, callers) = (pool.to_owned(), run.to_owned(), Mutex::default());
        let mut checks = Self { sidecar, pool: pool_name, run, families: none, callers };
        let probe = checks.caller("probe");
        let mut last = String::new();
        for families in [FamilyRequest { want_ipv4: true, ..none }, FamilyRequest { want_ipv6: true, ..none }] {
            match checks.ask(&probe, families, "").await {
                Ok(_) => {
                    checks.families.want_ipv4 |= families.want_ipv4;
                    checks.families.want_ipv6 |= families.want_ipv6;
                }
                Err(error) => last = text(&error),
            }
            checks.give_back(&probe).await?;
        }
        if checks.families == none { Err(format!("pool {pool:?} gives no address at all: {last}")) } else { Ok(checks) }
    }

    /// The connection has ended with the sidecar, which the next call may notice.
    pub(super) async fn reconnect(&self) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..20 {
            match self.stats().await {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(last)
    }

    /// Whether two owners have nothing in common, and the release of one leaves the other what it has.
    pub(super) async fn different(&self, one: &Caller, two: &Caller, key: &str) -> Check {
        let ask = async |caller: &Caller| self.ask(caller, self.families, key).await.map_err(|error| text(&error));
        let (first, second) = (ask(one).await?, ask(two).await?);
        let result = if first.intersection(&second).next().is_some() {
            Err(format!("one got {first:?}, the other {second:?}"))
        } else {
            self.give_back(two).await?;
            same("after the release of the other", &first, &ask(one).await?)
        };
        self.give_back(two).await?;
        self.give_back(one).await?;
        result
    }

    /// How many more Services of this run the pool can serve, if that is known.
    pub(super) async fn room(&self) -> Result<Option<u64>, String> {
        let stats = self.stats().await?;
        let free = |size: u64, used: u64, wanted: bool| if wanted { size.saturating_sub(used) } else { u64::MAX };
        let v4 = free(stats.size_v4, stats.in_use_v4, self.families.want_ipv4);
        let v6 = free(stats.size_v6, stats.in_use_v6, self.families.want_ipv6);
        Ok(stats.has_known_capacity.then_some(v4.min(v6)))
    }

    pub(super) fn caller(&self, name: &str) -> Caller {
        Caller {
            cluster: format!("conformance-{}", self.run),
            service: format!("conformance-{}/{name}", self.run),
            uid: format!("{}-{name}", self.run),
        }
    }

    pub(super) fn allocate_request(&self, caller: &Caller, families: FamilyRequest, key: &str) -> AllocateRequest {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).insert(caller.clone());
        AllocateRequest {
            pool: self.pool.clone(),
            service: caller.service.clone(),
            sharing_key: key.to_owned(),
            selector: Some(Selector::Families(families)),
            cluster: caller.cluster.clone(),
            service_uid: caller.uid.clone(),
        }
    }

    pub(super) fn release_request(&self, caller: &Caller, target: Option<Target>) -> ReleaseRequest {
        ReleaseRequest {
            pool: self.pool.clone(),
            service: caller.service.clone(),
            target,
            cluster: caller.cluster.clone(),
            service_uid: caller.uid.clone(),
        }
    }

    pub(super) async fn ask(
        &self,
        caller: &Caller,
        families: FamilyRequest,
        key: &str,
    ) -> Result<BTreeSet<IpAddr>, CallError> {
        self.addresses(self.allocate_request(caller, families, key)).await
    }

    pub(super) async fn addresses(&self, request: AllocateRequest) -> Result<BTreeSet<IpAddr>, CallError> {
        let answer = self.sidecar.allocate(request).await?;
        let parsed = answer.ips.iter().map(|ip| ip.ip.parse::<IpAddr>());
        let addresses =
            parsed.collect::<Result<BTreeSet<IpAddr>, _>>().ok().filter(|all| (1..=16).contains(&all.len()));
        addresses.ok_or_else(|| CallError {
            failure: Failure::Refused,
            status: tonic::Status::internal(format!(
                "it answered with {:?}: give 1 to 16 addresses as text",
                answer.ips
            )),
        })
    }

    /// Addresses of all families of the pool.
    pub(super) async fn given(&self, caller: &Caller) -> Result<BTreeSet<IpAddr>, String> {
        self.ask(caller, self.families, "").await.map_err(|error| text(&error))
    }

    pub(super) async fn release(&self, caller: &Caller, target: Option<Target>) -> Result<(), String> {
        match self.sidecar.release(self.release_request(caller, target)).await {
            Err(error) if error.status.code() != Code::NotFound => Err(format!("Release: {}", text(&error))),
            _ => Ok(()),
        }
    }

    /// Gives back whatever the sidecar may have kept for anybody who has asked, also after a check that ended early.
    pub(super) async fn clean_up(&self) {
        let callers = std::mem::take(&mut *self.callers.lock().unwrap_or_else(PoisonError::into_inner));
        for caller in callers {
            // What goes wrong here went wrong in a check already.
            let _answer = self.give_back(&caller).await;
        }
    }

    pub(super) async fn give_back(&self, caller: &Caller) -> Check {
        self.release(caller, Some(Target::All(true))).await.map(|()| None)
    }

    /// What the sidecar lists of the cluster, by Service and UID; `None` if it does not list.
    pub(super) async fn listed(&self) -> Result<Option<Listed>, String> {
        let mut listed = Listed::new();
        let mut page = String::new();
        loop {
            let request = ListRequest { pool: self.pool.clone(), cluster: self.caller("").cluster, page: page.clone() };
            let answer = match self.sidecar.list(request).await {
                Err(error) if error.status.code() == Code::Unimplemented => return Ok(None),
                answer => answer.map_err(|error| format!("List: {}", text(&error)))?,
            };
            for found in answer.allocations {
                let parsed = found.ips.iter().map(|ip| ip.parse::<IpAddr>());
                let addresses = parsed.collect::<Result<BTreeSet<IpAddr>, _>>();
                let addresses = addresses.map_err(|error| format!("List: {:?}: {error}", found.ips))?;
                let owner = (found.service, found.service_uid);
                if found.cluster != self.caller("").cluster || listed.insert(owner.clone(), addresses).is_some() {
                    return Err(format!("List: {owner:?} is of the cluster {:?}, or is listed twice", found.cluster));
                }
            }
            if answer.next.is_empty() {
                return Ok(Some(listed));
            }
            if answer.next == page {
                return Err(format!("List: the page {page:?} names itself as the next one"));
            }
            page = answer.next;
        }
    }

    pub(super) async fn stats(&self) -> Result<StatsResponse, String> {
        let request = StatsRequest { pool: self.pool.clone(), cluster: self.caller("").cluster };
        self.sidecar.stats(request).await.map_err(|error| format!("Stats: {}", text(&error)))
    }
}

pub(super) fn text(error: &CallError) -> String {
    format!("{:?}: {}", error.status.code(), error.status.message())
}

pub(super) fn same(when: &str, expected: &BTreeSet<IpAddr>, found: &BTreeSet<IpAddr>) -> Check {
    if expected == found { Ok(None) } else { Err(format!("it gave {expected:?}, and {found:?} {when}")) }
}

/// Awaits all at the same time.
pub(super) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut running {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
