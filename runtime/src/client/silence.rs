//! Watches that fall silent.
//!
//! The API server sends a bookmark about once a minute on a watch on which nothing else happens. A connection can live
//! and deliver nothing all the same: a proxy or a firewall answers for the server, or drops only its data. The
//! library keeps bookmarks to itself, so what counts are the bytes of the response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};
use tower::{BoxError, Service};
use tracing::warn;

/// How long a watch may be silent.
pub(crate) const LONGEST: Duration = Duration::from_secs(90);

/// Nothing was received for [`LONGEST`].
#[derive(Debug, Clone, Copy, Error)]
#[error("nothing was received for {} s, not even a bookmark", LONGEST.as_secs())]
pub(crate) struct Silent;

/// A client whose watches break when they fall silent.
#[derive(Debug, Clone)]
pub(crate) struct Heard<S>(S);

impl<S> Heard<S> {
    pub(crate) const fn new(client: S) -> Self {
        Self(client)
    }
}

impl<S, R, B> Service<Request<R>> for Heard<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<HeardBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let watched = is_watch(request.uri()).then(|| request.uri().path().to_owned());
        let response = self.0.call(request);
        Box::pin(async move { Ok(response.await?.map(|body| HeardBody::new(body, watched))) })
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")))
}

/// The body of a response. That of a watch fails when it falls silent.
#[derive(Debug)]
pub(crate) struct HeardBody<B> {
    body: B,
    /// Of a watch: its path, and when it has been silent for too long.
    watched: Option<(String, Pin<Box<Sleep>>)>,
}

impl<B> HeardBody<B> {
    fn new(body: B, path: Option<String>) -> Self {
        Self { body, watched: path.map(|path| (path, Box::pin(sleep(LONGEST)))) }
    }
}

impl<B> Body for HeardBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let Some((path, limit)) = &mut self.watched else { return frame.map_err(Into::into) };
        if frame.is_ready() {
            limit.as_mut().reset(Instant::now() + LONGEST);
            return frame.map_err(Into::into);
        }
        ready!(limit.as_mut().poll(context));
        warn!(op = "watch", path, "{Silent}: opening the watch anew");
        Poll::Ready(Some(Err(Silent.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
