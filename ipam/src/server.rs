//! A sidecar's side: the calls of an [`Ipam`], served on a Unix socket.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::message::{AllocateRequest, AllocateResponse, ReleaseRequest, ReleaseResponse, StatsRequest, StatsResponse};
use crate::{ALLOCATE, RELEASE, SERVICE, STATS};

/// Who hands out addresses. Calls come side by side, and every one may come again.
pub trait Ipam: Send + Sync + 'static {
    /// Gives a Service addresses, the same ones as before if it has any.
    fn allocate(&self, request: AllocateRequest) -> impl Future<Output = Result<AllocateResponse, Status>> + Send;
    /// Takes addresses back; also if there are none.
    fn release(&self, request: ReleaseRequest) -> impl Future<Output = Result<ReleaseResponse, Status>> + Send;
    /// Numbers to show.
    fn stats(&self, request: StatsRequest) -> impl Future<Output = Result<StatsResponse, Status>> + Send;
}

/// Serves on a socket until `stop` is ready. What an earlier process left of the socket is removed.
///
/// # Errors
/// The socket cannot be made, or there is a file of its name that is no socket.
pub async fn serve<I: Ipam>(socket: &Path, ipam: Arc<I>, stop: impl Future<Output = ()> + Send) -> io::Result<()> {
    match std::fs::symlink_metadata(socket) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(socket)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(socket)?;
    // The allocator may run as another user of the same group.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    let served = Server::builder()
        .add_service(Endpoint { ipam })
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
        .await;
    served.map_err(io::Error::other)
}

/// Finds the call for a path.
struct Endpoint<I> {
    ipam: Arc<I>,
}

impl<I> Clone for Endpoint<I> {
    fn clone(&self) -> Self {
        Self { ipam: Arc::clone(&self.ipam) }
    }
}

impl<I> NamedService for Endpoint<I> {
    const NAME: &'static str = SERVICE;
}

impl<I: Ipam> Service<Request<Body>> for Endpoint<I> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ipam = Arc::clone(&self.ipam);
        Box::pin(async move {
            let answer = match request.uri().path() {
                ALLOCATE => {
                    unary(request, move |it| {
                        let ipam = Arc::clone(&ipam);
                        async move { ipam.allocate(it).await }
                    })
                    .await
                }
                RELEASE => {
                    unary(request, move |it| {
                        let ipam = Arc::clone(&ipam);
                        async move { ipam.release(it).await }
                    })
                    .await
                }
                STATS => {
                    unary(request, move |it| {
                        let ipam = Arc::clone(&ipam);
                        async move { ipam.stats(it).await }
                    })
                    .await
                }
                _ => Status::unimplemented("no such call").into_http(),
            };
            Ok(answer)
        })
    }
}

async fn unary<Q, A, F>(request: Request<Body>, answer: impl Fn(Q) -> F + Clone + Send + 'static) -> Response<Body>
where
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Default + Send + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let service = service_fn(move |request: tonic::Request<Q>| {
        let answer = answer(request.into_inner());
        async move { answer.await.map(tonic::Response::new) }
    });
    Grpc::new(ProstCodec::<A, Q>::default()).unary(service, request).await
}
