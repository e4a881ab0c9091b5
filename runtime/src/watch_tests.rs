//! Watches of an API server that is a script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use futures::FutureExt;
use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::InitialListStrategy;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

/// The far end of an open watch.
type Line = UnboundedSender<io::Result<Bytes>>;

enum Answer {
    /// This body, with this status.
    Whole(StatusCode, Value),
    /// A watch, open until its far end is dropped.
    Open(UnboundedReceiver<io::Result<Bytes>>),
    /// None.
    Silence,
}

fn list(version: &str) -> Answer {
    let list =
        json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": version}, "items": []});
    Answer::Whole(StatusCode::OK, list)
}

fn open() -> (Line, Answer) {
    let (line, lines) = unbounded_channel();
    (line, Answer::Open(lines))
}

fn refusal() -> Answer {
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "no", "reason": "no", "code": 503});
    Answer::Whole(StatusCode::SERVICE_UNAVAILABLE, status)
}

/// An API server that answers like this, and then no more.
fn server(script: impl IntoIterator<Item = Answer>) -> Client {
    let script: Arc<Mutex<VecDeque<Answer>>> = Arc::new(Mutex::new(script.into_iter().collect()));
    let service = tower::service_fn(move |_: Request<kube::client::Body>| {
        let answer = script.lock().unwrap().pop_front().unwrap_or(Answer::Silence);
        async move {
            let (status, body) = match answer {
                Answer::Whole(status, value) => (status, Body::from(value.to_string())),
                Answer::Open(lines) => {
                    let lines = unfold(lines, |mut lines| async move { lines.recv().await.map(|line| (line, lines)) });
                    (StatusCode::OK, Body::from_stream(lines))
                }
                Answer::Silence => pending().await,
            };
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    Client::new(service, "default")
}

fn watch_of(script: impl IntoIterator<Item = Answer>) -> BoxStream<'static, Signal<ConfigMap>> {
    let config = Config { initial_list_strategy: InitialListStrategy::ListWatch, ..Config::default() };
    signals("configmaps", server(script), Api::all, config)
}

/// The signals in short until nothing comes for half a minute, with the second of each news about the watch.
async fn all(stream: &mut BoxStream<'static, Signal<ConfigMap>>) -> Vec<String> {
    let start = Instant::now();
    let mut all = Vec::new();
    while let Ok(Some(signal)) = timeout(Duration::from_secs(30), stream.next()).await {
        all.push(match signal {
            Signal::Current(current) => format!("{current} {}", start.elapsed().as_secs()),
            Signal::Event(Event::Init) => "init".to_owned(),
            Signal::Event(Event::InitDone) => "done".to_owned(),
            Signal::Event(Event::Apply(object)) => object.metadata.name.unwrap(),
            Signal::Event(event) => format!("{event:?}"),
        });
    }
    all
}

fn tell(line: &Line, name: &str, version: &str) {
    let event = json!({"type": "ADDED", "object":
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": version}}});
    line.send(Ok(format!("{event}\n").into())).unwrap();
}

fn cut(line: &Line) {
    line.send(Err(io::ErrorKind::ConnectionReset.into())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_current_from_its_list_on() {
    let (line, watch) = open();
    let mut stream = watch_of([list("1"), watch]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    tell(&line, "a", "2");
    assert_eq!(all(&mut stream).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_nothing_is_ever_current() {
    assert_eq!(all(&mut watch_of([])).await, ["init"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_again_at_once_was_never_away() {
    let ((first, one), (second, two), (_third, three)) = (open(), open(), open());
    let mut stream = watch_of([list("1"), one, refusal(), two, three]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    // Broken, and the first attempt to come back is refused.
    cut(&first);
    assert!(all(&mut stream).await.is_empty());
    // Ended by the server, as every few minutes.
    drop(second);
    assert!(all(&mut stream).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_daily_business() {
    let ((line, one), (_line, two)) = (open(), open());
    let mut stream = watch_of([list("1"), one, list("9"), two]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    let gone = json!({"type": "ERROR", "object":
        {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "old", "reason": "Expired", "code": 410}});
    line.send(Ok(format!("{gone}\n").into())).unwrap();
    assert_eq!(all(&mut stream).await, ["init", "done"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_and_so_is_its_end() {
    let ((line, one), (_line, two)) = (open(), open());
    let refusals = (0..8).map(|_| refusal());
    let mut stream = watch_of([list("1"), one].into_iter().chain(refusals).chain([two]));
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    cut(&line);
    let news = all(&mut stream).await;
    assert_eq!((news.len(), news[0].as_str()), (2, "false 2"), "{news:?}");
    let end: u64 = news[1].strip_prefix("true ").unwrap().parse().unwrap();
    assert!((8..30).contains(&end), "{end}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_an_outage() {
    let (line, watch) = open();
    let mut stream = watch_of([list("1"), watch]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    drop(line);
    assert_eq!(all(&mut stream).await, ["false 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_list_counts_when_it_is_complete() {
    let (line, watch) = open();
    // Too old by then, and the list hangs.
    let mut stream = watch_of([list("1"), watch]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    let gone = json!({"type": "ERROR", "object":
        {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "old", "reason": "Expired", "code": 410}});
    line.send(Ok(format!("{gone}\n").into())).unwrap();
    assert_eq!(all(&mut stream).await, ["init", "false 2"]);
}

#[tokio::test(start_paused = true)]
async fn events_alone_are_what_they_were() {
    let (line, watch) = open();
    let api: Api<ConfigMap> = Api::all(server([list("1"), watch]));
    let mut stream = events("configmaps", api, Config::default()).boxed();
    assert!(matches!(stream.next().await, Some(Event::Init)));
    assert!(matches!(stream.next().await, Some(Event::InitDone)));
    assert!(stream.next().now_or_never().is_none());
    tell(&line, "a", "2");
    assert!(matches!(stream.next().await, Some(Event::Apply(_))));
}
