//! A candidate, and an API server that does not answer writes.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Mutex;

use axum::body::{Body, to_bytes};
use http::{Method, Request, Response};
use kube::Client;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;

const TIMING: Timing = Timing {
    duration: Duration::from_secs(1),
    renew: Duration::from_millis(100),
    deadline: Duration::from_millis(300),
};

/// A server with one Lease, which answers no write as long as it `hangs`.
fn server(hangs: Arc<AtomicBool>) -> Client {
    server_that(hangs, Arc::default())
}

/// The same, which carries out the next write and does not answer it if that is to be `lost`.
fn server_that(hangs: Arc<AtomicBool>, loses: Arc<AtomicBool>) -> Client {
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {},
        "metadata": {"name": "leader", "namespace": "default", "resourceVersion": "1"}});
    let state = Arc::new(Mutex::new((1_u64, lease)));
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (hangs, loses, state) = (hangs.clone(), loses.clone(), state.clone());
        async move {
            if request.method() != Method::GET {
                let body = to_bytes(Body::new(request.into_body()), 1 << 20).await.unwrap();
                if hangs.load(Ordering::Acquire) {
                    pending::<()>().await;
                }
                let patch: Value = serde_json::from_slice(&body).unwrap();
                {
                    let mut state = state.lock().unwrap();
                    let (version, lease) = &mut *state;
                    *version += 1;
                    lease["spec"] = patch["spec"].clone();
                    lease["metadata"]["annotations"] = patch["metadata"]["annotations"].clone();
                    lease["metadata"]["annotations"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
                    lease["metadata"]["resourceVersion"] = json!(version.to_string());
                }
                if loses.swap(false, Ordering::AcqRel) {
                    pending::<()>().await;
                }
            }
            let text = state.lock().unwrap().1.to_string();
            Ok::<_, Infallible>(Response::new(Body::from(text)))
        }
    });
    Client::new(service, "default")
}

fn candidate(client: Client) -> Leader {
    let candidacy = Candidacy {
        lease: "leader",
        identity: identity("pod"),
        field_manager: "test",
        annotations: BTreeMap::new(),
        statement: "says",
    };
    let writes = WriteCounter::new(&Registry::new()).unwrap();
    let healthy = IntGauge::new("healthy", "healthy").unwrap();
    Leader::start(Api::namespaced(client, "default"), candidacy, TIMING, healthy, writes)
}

async fn becomes<T>(receiver: &mut watch::Receiver<Option<T>>, present: bool) {
    let reached = receiver.wait_for(|value| value.is_some() == present);
    timeout(Duration::from_secs(20), reached).await.unwrap().unwrap();
}

#[tokio::test]
async fn case_67_a_lease_that_cannot_be_written_is_reported_until_it_can() {
    let hangs = Arc::new(AtomicBool::new(true));
    let leader = candidate(server(hangs.clone()));
    let (mut unwritable, mut terms) = (leader.unwritable(), leader.terms());
    becomes(&mut unwritable, true).await;
    assert_eq!(*unwritable.borrow(), Some(Unwritable { deadline: TIMING.deadline }));
    assert!(terms.borrow().is_none());
    hangs.store(false, Ordering::Release);
    becomes(&mut terms, true).await;
    becomes(&mut unwritable, false).await;
}

#[tokio::test]
async fn case_68_a_process_that_cannot_lead_leaves_the_lease_to_others() {
    let client = server(Arc::new(AtomicBool::new(false)));
    let leader = candidate(client.clone());
    let mut terms = leader.terms();
    becomes(&mut terms, true).await;
    assert!(leader.ability().set(false) && !leader.ability().set(false));
    becomes(&mut terms, false).await;
    // It does not take it again. Another one does.
    let other = candidate(client);
    becomes(&mut other.terms(), true).await;
    assert!(terms.borrow().is_none());
    // When it can lead again, it waits like any other.
    assert!(leader.ability().set(true));
    sleep(TIMING.duration).await;
    assert!(terms.borrow().is_none());
    other.release(true).await;
    becomes(&mut terms, true).await;
}

/// The candidate says this in its present term, and the Lease does too.
async fn says(leader: &Leader, text: &str) {
    let term = leader.terms().borrow().as_ref().unwrap().number;
    leader.statement().state(term, text.into());
    let mut written = leader.statement().written();
    let said = written.wait_for(|said| said.as_ref().is_some_and(|(_, said)| **said == *text));
    timeout(Duration::from_secs(20), said).await.unwrap().unwrap();
}

/// What the previous leader has said to this one, once it leads.
async fn was_told(leader: &Leader) -> Option<String> {
    let mut terms = leader.terms();
    becomes(&mut terms, true).await;
    terms.borrow().as_ref().unwrap().statement.as_deref().map(str::to_owned)
}

#[tokio::test]
async fn case_67_the_next_leader_is_told_what_the_last_one_said() {
    let client = server(Arc::new(AtomicBool::new(false)));
    let first = candidate(client.clone());
    assert_eq!(was_told(&first).await, None);
    says(&first, "a").await;
    says(&first, "b,c").await;
    first.release(false).await;
    // One that has said nothing passes on what it was told.
    let second = candidate(client.clone());
    assert_eq!(was_told(&second).await.as_deref(), Some("b,c"));
    second.release(false).await;
    let third = candidate(client.clone());
    assert_eq!(was_told(&third).await.as_deref(), Some("b,c"));
    says(&third, "").await;
    // A holder of an earlier version has said nothing, whatever still stands there.
    drop(third);
    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    let mut lease = leases.get("leader").await.unwrap();
    let said = lease.metadata.annotations.clone().unwrap();
    lease.spec.as_mut().unwrap().holder_identity = Some("earlier".to_owned());
    let patch = json!({"metadata": {"annotations": said}, "spec": lease.spec});
    let parameters = kube::api::PatchParams::default();
    leases.patch("leader", &parameters, &kube::api::Patch::Merge(&patch)).await.unwrap();
    assert_eq!(was_told(&candidate(client)).await, None);
}

#[tokio::test]
async fn case_67_what_was_said_in_an_earlier_term_does_not_come_back() {
    let loses = Arc::new(AtomicBool::new(false));
    let client = server_that(Arc::default(), loses.clone());
    let first = candidate(client.clone());
    assert_eq!(was_told(&first).await, None);
    says(&first, "old").await;
    // It leaves the Lease to another one, which says something else and goes without a release.
    assert!(first.ability().set(false));
    let second = candidate(client);
    assert_eq!(was_told(&second).await.as_deref(), Some("old"));
    says(&second, "new").await;
    let mut terms = first.terms();
    becomes(&mut terms, false).await;
    drop(second);
    // The answer to its taking the Lease is lost.
    loses.store(true, Ordering::Release);
    assert!(first.ability().set(true));
    assert_eq!(was_told(&first).await.as_deref(), Some("new"));
    assert!(!loses.load(Ordering::Acquire));
}
