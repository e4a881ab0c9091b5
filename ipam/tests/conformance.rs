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
    AllocateRequest, AllocateResponse, ReleaseRequest, ReleaseResponse, StatsRequest, StatsResponse, Target,
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
        self.inner.allocate(request).await.map_err(|status| match self.habit {
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
            _ => {}
        }
        self.inner.release(request).await
    }

    async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        self.inner.stats(request).await
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
    ] {
        let broken = broken(habit).await;
        for word in words {
            assert!(broken.iter().any(|rule| rule.contains(word)), "{habit:?}, {word}: {broken:#?}");
        }
    }
}
