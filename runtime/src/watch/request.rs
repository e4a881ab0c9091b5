//! A client that records what becomes of its requests.

use http::Response;
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;

/// What became of the last request.
///
/// An open watch is silent while nothing happens. Only the answer to its request shows that it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// No request was sent yet.
    None,
    /// It was sent and has no successful answer yet.
    Sent,
    /// It was answered with success.
    Answered,
}

/// A client like this one that records what becomes of its requests.
pub(super) fn recording(client: Client, last: watch::Sender<Request>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (client, last) = (client.clone(), last.clone());
        async move {
            last.send_replace(Request::Sent);
            let response: Response<Body> = client.send(request).await?;
            if response.status().is_success() {
                last.send_replace(Request::Answered);
            }
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, namespace)
}
