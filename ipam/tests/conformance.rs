//! The conformance test itself: the example passes it, and every bad habit is found.

// The helpers of a test may panic, like the test itself.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipam::Status;
use ipam::client::Sidecar;
use ipam::conformance::Conformance;
use ipam::example::Example;
use ipam::message::{
    AllocateRequest, AllocateResponse, FamilyRequest, ListRequest, ListResponse, ListedAllocation, ReleaseRequest,
    ReleaseResponse, Selector, StatsRequest, StatsResponse, Target,
};
use ipam::server::{Ipam, serve};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// What the sidecar does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    None,
    /// It keeps allocations by pool and Service, as sidecars did before the fields for owners.
    ByName,
    /// It forgets everything when it ends.
    Forgets,
    /// It refuses to release what it does not have.
    RefusesReleases,
    /// It takes a release without a target for one of everything.
    ReleasesAll,
    /// It has a word of its own for an empty pool.
    AnotherCode,
    /// It frees an address, whoever else has it.
    FreesForAll,
    /// It keeps what it could give of a request that it refuses.
    KeepsPart,
    /// It lists what it has, of whichever cluster.
    ListsAll,
}

struct Habitual {
    inner: Example,
    habit: Habit,
}

impl Ipam for Habitual {
    async fn allocate(&self, mut request: AllocateRequest) -> Result<AllocateResponse, Status> {
        if self.habit == Habit::ByName {
            (request.cluster, request.service_uid) = (String::new(), String::new());
        }
        let answer = self.inner.allocate(request.clone()).await;
        if self.habit == Habit::KeepsPart && answer.is_err() {
            let six = FamilyRequest { want_ipv4: false, want_ipv6: true };
            let _kept =
                self.inner.allocate(AllocateRequest { selector: Some(Selector::Families(six)), ..request }).await;
        }
        answer.map_err(|status| match self.habit {
            Habit::AnotherCode => Status::failed_precondition(status.message()),
            _ => status,
        })
    }

    async fn release(&self, mut request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        match self.habit {
            Habit::ByName => (request.cluster, request.service_uid) = (String::new(), String::new()),
            Habit::ReleasesAll if request.target.is_none() => request.target = Some(Target::All(true)),
            Habit::RefusesReleases => {
                let pools = self.inner.allocations();
                let has = |owner: &ipam::allocations::Owner| owner.service == request.service;
                if !pools.get(&request.pool).is_some_and(|pool| pool.keys().any(has)) {
                    return Err(Status::failed_precondition("it has nothing"));
                }
            }
            Habit::FreesForAll => {
                for owner in self.inner.allocations().remove(&request.pool).unwrap_or_default().into_keys() {
                    if owner.cluster == request.cluster {
                        let (service, service_uid) = (owner.service, owner.uid);
                        self.inner.release(ReleaseRequest { service, service_uid, ..request.clone() }).await?;
                    }
                }
            }
            _ => {}
        }
        self.inner.release(request).await
    }

    async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        self.inner.stats(request).await
    }

    async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        let mut listed = self.inner.list(request.clone()).await?;
        if self.habit == Habit::ListsAll {
            for cluster in
                self.inner.allocations().remove(&request.pool).unwrap_or_default().into_keys().map(|it| it.cluster)
            {
                if cluster != request.cluster {
                    let others = self.inner.list(ListRequest { cluster, ..request.clone() }).await?;
                    listed.allocations.extend(others.allocations);
                }
            }
        }
        Ok(listed)
    }
}

fn start(socket: &Path, file: Option<PathBuf>, habit: Habit) -> Runtime {
    let ranges = ["192.0.2.0/28", "2001:db8::/124"].map(|range| range.parse().unwrap());
    let inner = Example::new(BTreeMap::from([("front".to_owned(), ranges.into())]), file).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (socket, served) = (socket.to_owned(), Arc::new(Habitual { inner, habit }));
    runtime.spawn(async move { serve(&socket, served, std::future::pending()).await.unwrap() });
    runtime
}

/// The rules that a sidecar with this habit breaks.
async fn broken(habit: Habit) -> Vec<String> {
    let directory = std::env::temp_dir().join(format!("purelb-conformance-{}-{habit:?}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("ipam.sock");
    let file = (habit != Habit::Forgets).then(|| directory.join("allocations"));
    let running = RefCell::new(Some(start(&socket, file.clone(), habit)));
    let is_up = async || {
        while UnixStream::connect(&socket).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    is_up().await;
    let restart = async || {
        running.borrow_mut().take().unwrap().shutdown_background();
        std::fs::remove_file(&socket).unwrap();
        *running.borrow_mut() = Some(start(&socket, file.clone(), habit));
        is_up().await;
        Ok(())
    };
    let sidecar = Sidecar::new(&socket, Duration::from_secs(2));
    let checks = Conformance::begin(sidecar, "front", "1").await.unwrap();
    let findings = checks.run(Some(restart)).await;
    assert!(findings.len() > 12);
    assert!(findings.iter().all(|finding| !matches!(finding.result, Ok(Some(_)))), "{findings:#?}");
    if let Some(running) = running.borrow_mut().take() {
        running.shutdown_background();
    }
    std::fs::remove_dir_all(directory).unwrap();
    let failed =
        findings.into_iter().filter_map(|finding| Some(format!("{}: {}", finding.rule, finding.result.err()?)));
    failed.collect()
}

#[tokio::test(flavor = "current_thread")]
async fn the_example_follows_every_rule() {
    assert_eq!(broken(Habit::None).await, Vec::<String>::new());
}

#[tokio::test(flavor = "current_thread")]
async fn every_bad_habit_is_found() {
    for (habit, words) in [
        (Habit::ByName, &["made anew", "two clusters", "older allocator"][..]),
        (Habit::Forgets, &["outlive a restart"]),
        (Habit::RefusesReleases, &["may be repeated"]),
        (Habit::ReleasesAll, &["without a target"]),
        (Habit::AnotherCode, &["RESOURCE_EXHAUSTED"]),
        (Habit::FreesForAll, &["by a sharing key keeps it"]),
        (Habit::KeepsPart, &["nothing is kept"]),
        (Habit::ListsAll, &["nothing of other clusters"]),
    ] {
        let broken = broken(habit).await;
        for word in words {
            assert!(broken.iter().any(|rule| rule.contains(word)), "{habit:?}, {word}: {broken:#?}");
        }
    }
}

/// A page of the largest size: the longest names, and 16 addresses each.
#[tokio::test(flavor = "current_thread")]
async fn the_largest_page_is_read() {
    struct Large;
    impl Ipam for Large {
        async fn allocate(&self, _: AllocateRequest) -> Result<AllocateResponse, Status> {
            Err(Status::unimplemented(""))
        }
        async fn release(&self, _: ReleaseRequest) -> Result<ReleaseResponse, Status> {
            Err(Status::unimplemented(""))
        }
        async fn stats(&self, _: StatsRequest) -> Result<StatsResponse, Status> {
            Err(Status::unimplemented(""))
        }
        async fn list(&self, _: ListRequest) -> Result<ListResponse, Status> {
            let listed = ListedAllocation {
                cluster: "c".repeat(253),
                service: "s".repeat(63 + 1 + 63),
                service_uid: "u".repeat(36),
                ips: vec!["2001:0db8:0000:0000:0000:0000:0000:0001".to_owned(); 16],
            };
            Ok(ListResponse { allocations: vec![listed; 1000], next: String::new() })
        }
    }
    let directory = std::env::temp_dir().join(format!("purelb-largest-page-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("ipam.sock");
    let (path, served) = (socket.clone(), Arc::new(Large));
    let running = tokio::spawn(async move { serve(&path, served, std::future::pending()).await.unwrap() });
    while UnixStream::connect(&socket).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = Sidecar::new(&socket, Duration::from_secs(5)).list(ListRequest::default()).await.unwrap();
    assert_eq!(answer.allocations.len(), 1000);
    running.abort();
    std::fs::remove_dir_all(directory).unwrap();
}
