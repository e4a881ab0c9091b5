//! What every sidecar has to do, as checks that run against its socket. They use Services and clusters that exist nowhere
//! else, and give back what they were given.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tonic::Code;

use crate::client::{CallError, Failure, Sidecar};
use crate::message::{
    AllocateRequest, ExplicitIPs, FamilyRequest, ReleaseRequest, Selector, StatsRequest, StatsResponse, Target,
};

/// How many calls are sent at once, as the allocator does.
const AT_ONCE: usize = 16;
/// The largest pool that is emptied to see what happens then.
const SMALL: u64 = 64;

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What the sidecar should do.
    pub rule: &'static str,
    /// What it does instead; `Ok(Some(why))` if that was not tried.
    pub result: Result<Option<&'static str>, String>,
}

type Check = Result<Option<&'static str>, String>;

/// Who asks in a check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Caller {
    cluster: String,
    service: String,
    uid: String,
}

/// The checks of one pool of one sidecar.
#[derive(Debug)]
pub struct Conformance {
    sidecar: Sidecar,
    pool: String,
    /// Differs from that of any other run.
    run: String,
    /// The families that the pool has.
    families: FamilyRequest,
}

impl Conformance {
    /// Finds out which families the pool has. `run` differs from that of any other run.
    ///
    /// # Errors
    /// The sidecar gives no address of any family, with its words.
    pub async fn begin(sidecar: Sidecar, pool: &str, run: &str) -> Result<Self, String> {
        let none = FamilyRequest { want_ipv4: false, want_ipv6: false };
        let mut checks = Self { sidecar, pool: pool.to_owned(), run: run.to_owned(), families: none };
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

    /// Runs all checks. `restart` ends the sidecar and starts it again; without it that is not tried.
    pub async fn run<R: AsyncFn() -> Result<(), String>>(&self, restart: Option<R>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |rule, result| findings.push(Finding { rule, result });
        add("Allocate gives addresses of the families that are asked for", self.families().await);
        add("Allocate that is repeated gives the same addresses", self.idempotence().await);
        add("Allocate for more families adds to what the Service has", self.growth().await);
        add("two Services get different addresses", self.two_services().await);
        add("Release of one address leaves the others", self.single_release().await);
        add("Release may be repeated, also for a Service that has nothing", self.repeated_release().await);
        add("Release without a target is refused and releases nothing", self.release_without_target().await);
        add("Allocate without families or for a pool that does not exist is refused", self.refusals().await);
        add("a Service that is made anew under its name is another owner", self.another_uid().await);
        add("two clusters share nothing, not even by the same sharing key", self.another_cluster().await);
        add("requests of an older allocator are about owners of their own", self.older_allocator().await);
        add("Stats counts what is allocated, and says that owners are kept", self.numbers().await);
        add("what a Service has is registered by its address, unless another one has it", self.explicit().await);
        add("calls at the same time give no address twice", self.concurrency().await);
        add("calls at the same time for one Service give one address", self.concurrency_of_one().await);
        add("an empty pool answers RESOURCE_EXHAUSTED, and what is released is given again", self.exhaustion().await);
        add("allocations outlive a restart of the sidecar", self.restart(restart).await);
        findings
    }

    async fn families(&self) -> Check {
        let caller = self.caller("families");
        let given = self.given(&caller).await?;
        for (wanted, is_v4) in [(self.families.want_ipv4, true), (self.families.want_ipv6, false)] {
            if wanted != given.iter().any(|address| address.is_ipv4() == is_v4) {
                return Err(format!("asked for {:?}, it gave {given:?}", self.families));
            }
        }
        self.give_back(&caller).await
    }

    async fn idempotence(&self) -> Check {
        let caller = self.caller("idempotence");
        let (first, second) = (self.given(&caller).await?, self.given(&caller).await?);
        same("the second call", &first, &second)?;
        self.give_back(&caller).await
    }

    async fn growth(&self) -> Check {
        if !(self.families.want_ipv4 && self.families.want_ipv6) {
            return Ok(Some("the pool has one family"));
        }
        let caller = self.caller("growth");
        let one = FamilyRequest { want_ipv4: true, want_ipv6: false };
        let first = self.ask(&caller, one, "").await.map_err(|error| text(&error))?;
        let both = self.given(&caller).await?;
        if !first.is_subset(&both) || both.len() <= first.len() {
            return Err(format!("it gave {first:?} first, and {both:?} for both families"));
        }
        self.give_back(&caller).await
    }

    async fn two_services(&self) -> Check {
        self.different(&self.caller("one"), &self.caller("two"), "").await
    }

    async fn single_release(&self) -> Check {
        let caller = self.caller("single-release");
        let given = self.given(&caller).await?;
        let Some(first) = given.first().copied().filter(|_| given.len() > 1) else {
            self.give_back(&caller).await?;
            return Ok(Some("the pool has one family"));
        };
        self.release(&caller, Some(Target::Ip(first.to_string()))).await?;
        let rest = FamilyRequest { want_ipv4: first.is_ipv6(), want_ipv6: first.is_ipv4() };
        let left = self.ask(&caller, rest, "").await.map_err(|error| text(&error))?;
        let expected: BTreeSet<IpAddr> = given.iter().copied().filter(|address| *address != first).collect();
        same("after the release of one", &expected, &left)?;
        self.give_back(&caller).await
    }

    async fn repeated_release(&self) -> Check {
        let caller = self.caller("repeated-release");
        let given = self.given(&caller).await?;
        for _ in 0..2 {
            self.give_back(&caller).await?;
            for address in &given {
                self.release(&caller, Some(Target::Ip(address.to_string()))).await?;
            }
        }
        Ok(None)
    }

    async fn release_without_target(&self) -> Check {
        let caller = self.caller("no-target");
        let given = self.given(&caller).await?;
        let answer = self.sidecar.release(self.release_request(&caller, None)).await;
        if answer.is_ok() {
            return Err("it answered OK".to_owned());
        }
        same("afterwards", &given, &self.given(&caller).await?)?;
        self.give_back(&caller).await
    }

    async fn refusals(&self) -> Check {
        let caller = self.caller("refusals");
        let request = self.allocate_request(&caller, self.families, "");
        let other_pool = AllocateRequest { pool: format!("{}-that-does-not-exist", self.pool), ..request.clone() };
        let nothing = AllocateRequest { selector: None, ..request.clone() };
        let selector = Selector::Explicit(ExplicitIPs { ips: vec!["not an address".to_owned()] });
        let explicit = AllocateRequest { selector: Some(selector), ..request };
        for (what, request) in
            [("a pool that does not exist", other_pool), ("nothing", nothing), ("no address", explicit)]
        {
            match self.sidecar.allocate(request).await {
                Err(CallError { failure: Failure::Refused, .. }) => {}
                Err(error) => return Err(format!("asked for {what}: {}", text(&error))),
                Ok(answer) => return Err(format!("asked for {what}, it gave {:?}", answer.ips)),
            }
        }
        self.give_back(&caller).await
    }

    async fn another_uid(&self) -> Check {
        let old = self.caller("anew");
        let new = Caller { uid: format!("{}-anew", old.uid), ..old.clone() };
        self.different(&old, &new, "").await
    }

    async fn another_cluster(&self) -> Check {
        let here = self.caller("clusters");
        let there = Caller { cluster: format!("{}-there", here.cluster), ..here.clone() };
        self.different(&here, &there, "").await?;
        self.different(&here, &there, "key").await
    }

    async fn older_allocator(&self) -> Check {
        let new = self.caller("older");
        let old = Caller { cluster: String::new(), uid: String::new(), ..new.clone() };
        self.different(&new, &old, "").await?;
        // What the older one was given belongs to the first that says who asks.
        let given = self.given(&old).await?;
        same("the first request that says who asks", &given, &self.given(&new).await?)?;
        self.give_back(&old).await?;
        same("after a release by the older allocator", &given, &self.given(&new).await?)?;
        self.give_back(&new).await
    }

    async fn numbers(&self) -> Check {
        let used = |stats: &StatsResponse| stats.in_use_v4.saturating_add(stats.in_use_v6);
        let caller = self.caller("numbers");
        let before = self.stats().await?;
        let given = self.given(&caller).await?;
        let with = self.stats().await?;
        self.give_back(&caller).await?;
        let after = self.stats().await?;
        let more = u64::try_from(given.len()).unwrap_or(u64::MAX);
        if used(&with) != used(&before).saturating_add(more) || used(&after) != used(&before) {
            let (before, with, after) = (used(&before), used(&with), used(&after));
            return Err(format!("{before} were in use, then {with} with {more} more, and {after} in the end"));
        }
        if !before.keeps_owners {
            return Err("keeps_owners is not set".to_owned());
        }
        Ok(None)
    }

    async fn explicit(&self) -> Check {
        let (forgotten, thief) = (self.caller("forgotten"), self.caller("thief"));
        let given = self.given(&forgotten).await?;
        self.give_back(&forgotten).await?;
        let ips: Vec<String> = given.iter().map(ToString::to_string).collect();
        let ask = async |caller: &Caller| {
            let selector = Selector::Explicit(ExplicitIPs { ips: ips.clone() });
            let request = self.allocate_request(caller, self.families, "");
            self.addresses(AllocateRequest { selector: Some(selector), ..request }).await
        };
        match ask(&forgotten).await {
            Err(error) if error.status.code() == Code::Unimplemented => {
                return Ok(Some("the sidecar does not do this, which is optional"));
            }
            answer => _ = same("by its address", &given, &answer.map_err(|error| text(&error))?)?,
        }
        if let Ok(stolen) = ask(&thief).await {
            return Err(format!("it gave {stolen:?} to another one"));
        }
        self.give_back(&forgotten).await
    }

    async fn concurrency(&self) -> Check {
        let room = self.room().await?.map_or(AT_ONCE, |free| AT_ONCE.min(usize::try_from(free).unwrap_or(AT_ONCE)));
        let callers: Vec<Caller> = (0..room).map(|number| self.caller(&format!("at-once-{number}"))).collect();
        let calls = callers.iter().map(|caller| self.given(caller));
        let answers = join_all(calls).await;
        let mut all = Vec::new();
        for answer in answers {
            all.extend(answer?);
        }
        let different: BTreeSet<IpAddr> = all.iter().copied().collect();
        if different.len() != all.len() {
            return Err(format!("{} calls gave {all:?}", callers.len()));
        }
        for caller in &callers {
            self.give_back(caller).await?;
        }
        Ok(None)
    }

    async fn concurrency_of_one(&self) -> Check {
        let caller = self.caller("one-at-once");
        let answers = join_all((0..AT_ONCE).map(|_| self.given(&caller))).await;
        let mut first = None;
        for answer in answers {
            let answer = answer?;
            same("another call at the same time", first.get_or_insert_with(|| answer.clone()), &answer)?;
        }
        self.give_back(&caller).await
    }

    async fn exhaustion(&self) -> Check {
        let Some(free) = self.room().await?.filter(|free| *free <= SMALL) else {
            return Ok(Some("the pool is large, or its size is not known"));
        };
        let callers: Vec<Caller> = (0..=free).map(|number| self.caller(&format!("fills-{number}"))).collect();
        let mut refusal = None;
        for caller in &callers {
            match self.ask(caller, self.families, "").await {
                Ok(_) => {}
                Err(error) => _ = refusal.get_or_insert((caller.clone(), error)),
            }
        }
        let Some((late, error)) = refusal else { return Err("it gave more addresses than it has".to_owned()) };
        if error.status.code() != Code::ResourceExhausted {
            return Err(format!("it answered {}", text(&error)));
        }
        for caller in callers.iter().filter(|caller| **caller != late) {
            self.give_back(caller).await?;
        }
        self.given(&late).await?;
        self.give_back(&late).await
    }

    async fn restart<R: AsyncFn() -> Result<(), String>>(&self, restart: Option<R>) -> Check {
        let Some(restart) = restart else { return Ok(Some("no command to restart the sidecar was given")) };
        // What is free afterwards is the first that a sidecar without a memory would give.
        let (gone, caller) = (self.caller("before-restart"), self.caller("restart"));
        self.given(&gone).await?;
        let before = self.given(&caller).await?;
        self.give_back(&gone).await?;
        restart().await?;
        self.reconnect().await?;
        same("after the restart", &before, &self.given(&caller).await?)?;
        self.different(&caller, &gone, "").await
    }

    /// The connection has ended with the sidecar, which the next call may notice.
    async fn reconnect(&self) -> Result<(), String> {
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
    async fn different(&self, one: &Caller, two: &Caller, key: &str) -> Check {
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
    async fn room(&self) -> Result<Option<u64>, String> {
        let stats = self.stats().await?;
        let free = |size: u64, used: u64, wanted: bool| if wanted { size.saturating_sub(used) } else { u64::MAX };
        let v4 = free(stats.size_v4, stats.in_use_v4, self.families.want_ipv4);
        let v6 = free(stats.size_v6, stats.in_use_v6, self.families.want_ipv6);
        Ok(stats.has_known_capacity.then_some(v4.min(v6)))
    }

    fn caller(&self, name: &str) -> Caller {
        Caller {
            cluster: format!("conformance-{}", self.run),
            service: format!("conformance-{}/{name}", self.run),
            uid: format!("{}-{name}", self.run),
        }
    }

    fn allocate_request(&self, caller: &Caller, families: FamilyRequest, key: &str) -> AllocateRequest {
        AllocateRequest {
            pool: self.pool.clone(),
            service: caller.service.clone(),
            sharing_key: key.to_owned(),
            selector: Some(Selector::Families(families)),
            cluster: caller.cluster.clone(),
            service_uid: caller.uid.clone(),
        }
    }

    fn release_request(&self, caller: &Caller, target: Option<Target>) -> ReleaseRequest {
        ReleaseRequest {
            pool: self.pool.clone(),
            service: caller.service.clone(),
            target,
            cluster: caller.cluster.clone(),
            service_uid: caller.uid.clone(),
        }
    }

    async fn ask(&self, caller: &Caller, families: FamilyRequest, key: &str) -> Result<BTreeSet<IpAddr>, CallError> {
        self.addresses(self.allocate_request(caller, families, key)).await
    }

    async fn addresses(&self, request: AllocateRequest) -> Result<BTreeSet<IpAddr>, CallError> {
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
    async fn given(&self, caller: &Caller) -> Result<BTreeSet<IpAddr>, String> {
        self.ask(caller, self.families, "").await.map_err(|error| text(&error))
    }

    async fn release(&self, caller: &Caller, target: Option<Target>) -> Result<(), String> {
        match self.sidecar.release(self.release_request(caller, target)).await {
            Err(error) if error.status.code() != Code::NotFound => Err(format!("Release: {}", text(&error))),
            _ => Ok(()),
        }
    }

    async fn give_back(&self, caller: &Caller) -> Check {
        self.release(caller, Some(Target::All(true))).await.map(|()| None)
    }

    async fn stats(&self) -> Result<StatsResponse, String> {
        let request = StatsRequest { pool: self.pool.clone(), cluster: self.caller("").cluster };
        self.sidecar.stats(request).await.map_err(|error| format!("Stats: {}", text(&error)))
    }
}

fn text(error: &CallError) -> String {
    format!("{:?}: {}", error.status.code(), error.status.message())
}

fn same(when: &str, expected: &BTreeSet<IpAddr>, found: &BTreeSet<IpAddr>) -> Check {
    if expected == found { Ok(None) } else { Err(format!("it gave {expected:?}, and {found:?} {when}")) }
}

/// Awaits all at the same time.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
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
