//! The way to the API server, as the requests of one watch see it.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;

/// What became of the last request. A watch that is open is silent when nothing happens, so that its answer is all
/// that tells it from one that was never opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// There was none yet.
    Idle,
    /// It was sent, and there is no good answer so far.
    Asked,
    /// It was answered.
    Answered,
}

/// A client that notes what becomes of its requests.
pub(super) fn noting(client: Client, path: watch::Sender<Path>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, path) = (client.clone(), path.clone());
        async move {
            path.send_replace(Path::Asked);
            let response: Response<Body> = client.send(request).await?;
            if response.status().is_success() {
                path.send_replace(Path::Answered);
            }
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, namespace)
}
