//! Watches of an API server that answers by a script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::FutureExt;
use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::InitialListStrategy;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use futures::stream::{BoxStream, StreamExt, unfold};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

use crate::client::Heard;

use super::{Refused, WatchUpdate, events, optional_events, updates};

/// The server's end of an open watch.
type Line = UnboundedSender<io::Result<Bytes>>;

enum Answer {
    /// This body, with this status.
    Whole(StatusCode, Value),
    /// A watch, open until the server's end is dropped.
    Open(UnboundedReceiver<io::Result<Bytes>>),
    /// No answer.
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

/// An API server that gives these answers, and then none.
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
    Client::new(Heard::new(service), "default")
}

fn watch_of(script: impl IntoIterator<Item = Answer>) -> BoxStream<'static, WatchUpdate<ConfigMap>> {
    let config = Config { initial_list_strategy: InitialListStrategy::ListWatch, ..Config::default() };
    updates("configmaps", server(script), Api::all, config)
}

/// The updates as text until none comes for half a minute, with the second at which the watch became current or not.
async fn all(stream: &mut BoxStream<'static, WatchUpdate<ConfigMap>>) -> Vec<String> {
    let start = Instant::now();
    let mut all = Vec::new();
    while let Ok(Some(update)) = timeout(Duration::from_secs(30), stream.next()).await {
        all.push(match update {
            WatchUpdate::Current(current) => format!("{current} {}", start.elapsed().as_secs()),
            WatchUpdate::Event(Event::Init) => "init".to_owned(),
            WatchUpdate::Event(Event::InitDone) => "done".to_owned(),
            WatchUpdate::Event(Event::Apply(object)) => object.metadata.name.unwrap(),
            WatchUpdate::Event(event) => format!("{event:?}"),
        });
    }
    all
}

fn send(line: &Line, name: &str, version: &str) {
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
    send(&line, "a", "2");
    assert_eq!(all(&mut stream).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn case_68_a_watch_that_says_nothing_for_90_s_is_opened_anew() {
    let ((first, one), (second, two)) = (open(), open());
    let mut stream = watch_of([list("1"), one, two]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    // A bookmark is something, although nobody sees it.
    let bookmark = json!({"type": "BOOKMARK", "object":
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "5"}}});
    first.send(Ok(format!("{bookmark}\n").into())).unwrap();
    let since = Instant::now();
    send(&second, "a", "6");
    assert_eq!(timeout(Duration::from_secs(89), stream.next()).await.ok().flatten().map(|_| ()), None);
    let update = timeout(Duration::from_secs(5), stream.next()).await.unwrap().unwrap();
    assert!(matches!(update, WatchUpdate::Event(Event::Apply(object)) if object.metadata.name.as_deref() == Some("a")));
    assert!(since.elapsed() >= Duration::from_secs(90));
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_an_answer_is_never_current() {
    assert_eq!(all(&mut watch_of([])).await, ["init"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_reopens_at_once_stays_current() {
    let ((first, one), (second, two), (_third, three)) = (open(), open(), open());
    let mut stream = watch_of([list("1"), one, refusal(), two, three]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    // The connection breaks, and the server refuses the first attempt to open another.
    cut(&first);
    assert!(all(&mut stream).await.is_empty());
    // The server ends the watch, as it does every few minutes.
    drop(second);
    assert!(all(&mut stream).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_version_is_too_old_stays_current() {
    let ((line, one), (_line, two)) = (open(), open());
    let mut stream = watch_of([list("1"), one, list("9"), two]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    let gone = json!({"type": "ERROR", "object":
        {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "old", "reason": "Expired", "code": 410}});
    line.send(Ok(format!("{gone}\n").into())).unwrap();
    assert_eq!(all(&mut stream).await, ["init", "done"]);
}

#[tokio::test(start_paused = true)]
async fn the_beginning_and_the_end_of_an_outage_are_reported() {
    let ((line, one), (_line, two)) = (open(), open());
    let refusals = (0..8).map(|_| refusal());
    let mut stream = watch_of([list("1"), one].into_iter().chain(refusals).chain([two]));
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    cut(&line);
    let changes = all(&mut stream).await;
    assert_eq!((changes.len(), changes[0].as_str()), (2, "false 2"), "{changes:?}");
    let end: u64 = changes[1].strip_prefix("true ").unwrap().parse().unwrap();
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
async fn a_new_list_counts_only_when_it_is_complete() {
    let (line, watch) = open();
    // The version is too old, and the list is not answered.
    let mut stream = watch_of([list("1"), watch]);
    assert_eq!(all(&mut stream).await, ["init", "done", "true 0"]);
    let gone = json!({"type": "ERROR", "object":
        {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "old", "reason": "Expired", "code": 410}});
    line.send(Ok(format!("{gone}\n").into())).unwrap();
    assert_eq!(all(&mut stream).await, ["init", "false 2"]);
}

#[tokio::test(start_paused = true)]
async fn events_come_without_updates() {
    let (line, watch) = open();
    let api: Api<ConfigMap> = Api::all(server([list("1"), watch]));
    let mut stream = events("configmaps", api, Config::default()).boxed();
    assert!(matches!(stream.next().await, Some(Event::Init)));
    assert!(matches!(stream.next().await, Some(Event::InitDone)));
    assert!(stream.next().now_or_never().is_none());
    send(&line, "a", "2");
    assert!(matches!(stream.next().await, Some(Event::Apply(_))));
}

#[tokio::test(start_paused = true)]
async fn an_optional_watch_that_is_refused_is_tried_again_at_leisure() {
    let forbidden = || {
        let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
        Answer::Whole(StatusCode::FORBIDDEN, status)
    };
    let (_line, opened) = open();
    let script = (0..9).map(|_| forbidden()).chain([list("1"), opened]);
    let config = Config { initial_list_strategy: InitialListStrategy::ListWatch, ..Config::default() };
    let api: Api<ConfigMap> = Api::all(server(script));
    let start = Instant::now();
    let mut stream = optional_events("configmaps", api, config).boxed();
    let mut refused = 0;
    loop {
        match stream.next().await.unwrap() {
            Ok(Event::InitDone) => break,
            Ok(_) => {}
            Err(Refused) => refused += 1,
        }
    }
    let waited = start.elapsed();
    assert_eq!(refused, 9);
    assert!(waited > Duration::from_secs(90) && waited < Duration::from_secs(240), "{waited:?}");
}
