//! The checks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::Pin;

use tonic::Code;

use super::calls::{Caller, Check, Conformance, join_all, same, text};
use crate::client::{CallError, Failure};
use crate::message::{AllocateRequest, ExplicitIPs, FamilyRequest, Selector, StatsResponse, Target};

/// How many calls are sent at once, as the allocator does.
const AT_ONCE: usize = 16;
/// The largest pool that is emptied to see what happens then.
const SMALL: u64 = 64;

/// A check that is carried out when it is awaited.
type Begun<'a> = Pin<Box<dyn Future<Output = Check> + 'a>>;

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What the sidecar should do.
    pub rule: &'static str,
    /// What it does instead; `Ok(Some(why))` if that was not tried.
    pub result: Result<Option<&'static str>, String>,
}

impl Conformance {
    /// Runs all checks. `restart` ends the sidecar and starts it again; without it that is not tried.
    pub async fn run<R: AsyncFn() -> Result<(), String>>(&self, restart: Option<R>) -> Vec<Finding> {
        // None begins before the one before has ended.
        let checks: Vec<(&'static str, Begun<'_>)> = vec![
            ("Allocate gives addresses of the families that are asked for", Box::pin(self.families())),
            ("Allocate that is repeated gives the same addresses", Box::pin(self.idempotence())),
            ("Allocate for more families adds to what the Service has", Box::pin(self.growth())),
            ("two Services get different addresses", Box::pin(self.two_services())),
            ("Release of one address leaves the others", Box::pin(self.single_release())),
            ("Release may be repeated, also for a Service that has nothing", Box::pin(self.repeated_release())),
            ("Release without a target is refused and releases nothing", Box::pin(self.release_without_target())),
            ("Allocate without families or for a pool that does not exist is refused", Box::pin(self.refusals())),
            ("a Service that is made anew under its name is another owner", Box::pin(self.another_uid())),
            ("two clusters share nothing, not even by the same sharing key", Box::pin(self.another_cluster())),
            (
                "who shares an address by a sharing key keeps it when another one gives it back",
                Box::pin(self.sharing()),
            ),
            ("requests of an older allocator are about owners of their own", Box::pin(self.older_allocator())),
            ("Stats counts what is allocated, and says that owners are kept", Box::pin(self.numbers())),
            ("what a Service has is registered by its address, unless another one has it", Box::pin(self.explicit())),
            ("List names what the cluster has, and nothing of other clusters", Box::pin(self.list())),
            ("calls at the same time give no address twice", Box::pin(self.concurrency())),
            ("calls at the same time for one Service give one address", Box::pin(self.concurrency_of_one())),
            (
                "an empty pool answers RESOURCE_EXHAUSTED, and what is released is given again",
                Box::pin(self.exhaustion()),
            ),
            ("of a request that is refused nothing is kept", Box::pin(self.refused_in_part())),
            ("allocations outlive a restart of the sidecar", Box::pin(self.restart(restart))),
        ];
        let mut findings = Vec::new();
        for (rule, check) in checks {
            findings.push(Finding { rule, result: check.await });
            self.clean_up().await;
        }
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

    async fn sharing(&self) -> Check {
        let callers = ["shares", "shares-too", "stranger"].map(|name| self.caller(name));
        let [one, two, stranger] = &callers;
        let ask = async |caller: &Caller| self.ask(caller, self.families, "key").await.map_err(|error| text(&error));
        let (first, second) = (ask(one).await?, ask(two).await?);
        let result = if first == second {
            self.give_back(two).await?;
            let strange = self.given(stranger).await?;
            let left = ask(one).await?;
            if first.intersection(&strange).next().is_some() {
                Err(format!("{first:?} was given back by one of two, and then {strange:?} was given to a third"))
            } else {
                same("after the release of the other", &first, &left)
            }
        } else {
            Ok(Some("the sidecar does not share, which is optional"))
        };
        for caller in &callers {
            self.give_back(caller).await?;
        }
        result
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

    async fn list(&self) -> Check {
        let here = ["listed", "listed-too"].map(|name| self.caller(name));
        let [one, two] = &here;
        let there = Caller { cluster: format!("{}-there", one.cluster), ..one.clone() };
        let mut expected = BTreeMap::new();
        for caller in &here {
            expected.insert((caller.service.clone(), caller.uid.clone()), self.given(caller).await?);
        }
        self.given(&there).await?;
        let listed = self.listed().await;
        self.give_back(two).await?;
        let after = self.listed().await;
        self.give_back(one).await?;
        self.give_back(&there).await?;
        let (Some(listed), Some(after)) = (listed?, after?) else {
            return Ok(Some("the sidecar does not do this, which is optional"));
        };
        if listed != expected {
            return Err(format!("it lists {listed:?} for {expected:?}"));
        }
        expected.remove(&(two.service.clone(), two.uid.clone()));
        if after == expected { Ok(None) } else { Err(format!("after a release it lists {after:?} for {expected:?}")) }
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

    /// The pool has one address of a family less than of the other one, so that a request for both can be served in part.
    async fn refused_in_part(&self) -> Check {
        let odd = self.caller("odd");
        if !(self.families.want_ipv4 && self.families.want_ipv6) {
            return Ok(Some("the pool has one family"));
        }
        let one = FamilyRequest { want_ipv4: true, want_ipv6: false };
        self.ask(&odd, one, "").await.map_err(|error| text(&error))?;
        let room = self.room().await?.filter(|free| *free <= SMALL);
        let mut result = Ok(Some("the pool is large, or its size is not known"));
        let callers: Vec<Caller> =
            (0..room.unwrap_or_default()).map(|number| self.caller(&format!("in-part-{number}"))).collect();
        for caller in &callers {
            self.given(caller).await?;
        }
        let late = self.caller("in-part-late");
        if room.is_some() {
            let used = |stats: StatsResponse| (stats.in_use_v4, stats.in_use_v6);
            let before = used(self.stats().await?);
            let refused = self.ask(&late, self.families, "").await.is_err();
            let after = used(self.stats().await?);
            result = if !refused {
                Err("it gave an address of one family although both were asked for".to_owned())
            } else if before == after {
                Ok(None)
            } else {
                Err(format!("{before:?} were in use, and {after:?} after a refusal"))
            };
        }
        for caller in callers.iter().chain([&odd, &late]) {
            self.give_back(caller).await?;
        }
        result
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
}
