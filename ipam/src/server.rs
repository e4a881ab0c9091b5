//! The server of a sidecar: calls of an [`Ipam`] on a Unix socket.

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

use crate::message::{
    AllocateRequest, AllocateResponse, ListRequest, ListResponse, ReleaseRequest, ReleaseResponse, StatsRequest,
    StatsResponse,
};
use crate::{ALLOCATE, LIST, RELEASE, SERVICE, STATS};

/// An IP address management. Calls may be concurrent, and every call may be repeated.
pub trait Ipam: Send + Sync + 'static {
    /// Gives a Service addresses. One that has addresses already gets the same ones again.
    fn allocate(&self, request: AllocateRequest) -> impl Future<Output = Result<AllocateResponse, Status>> + Send;
    /// Takes addresses back. It is no error if the Service has none.
    fn release(&self, request: ReleaseRequest) -> impl Future<Output = Result<ReleaseResponse, Status>> + Send;
    /// Reports how many addresses there are and how many are in use.
    fn stats(&self, request: StatsRequest) -> impl Future<Output = Result<StatsResponse, Status>> + Send;
    /// Lists what a cluster has of a pool.
    fn list(&self, _request: ListRequest) -> impl Future<Output = Result<ListResponse, Status>> + Send {
        async { Err(Status::unimplemented("this sidecar does not list allocations")) }
    }
}

/// Serves on a socket until `stop` is ready. A socket that an earlier process left is replaced.
///
/// # Errors
/// The socket cannot be created, or its path is a file of another kind.
pub async fn serve<I: Ipam>(socket: &Path, ipam: Arc<I>, stop: impl Future<Output = ()> + Send) -> io::Result<()> {
    match std::fs::symlink_metadata(socket) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(socket)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the path exists and is not a socket: remove it or choose another one",
            ));
        }
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

/// Dispatches calls by their path.
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
                LIST => {
                    unary(request, move |it| {
                        let ipam = Arc::clone(&ipam);
                        async move { ipam.list(it).await }
                    })
                    .await
                }
                _ => Status::unimplemented("this sidecar does not know the call").into_http(),
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
