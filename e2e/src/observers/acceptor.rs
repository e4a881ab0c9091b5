//! Accepts TCP connections on a host, so that clients have something to connect to.

use std::{net, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    base::error::{Doing, Result},
    hosts::host::Host,
};

/// How long an accepted connection is kept when its client neither speaks nor closes it.
const LINGER: Duration = Duration::from_secs(5);

impl Host {
    /// Accepts connections on a port, of both families.
    ///
    /// # Errors
    /// The host is off, or something listens there.
    pub fn accept(&self, port: u16) -> Result<Acceptor> {
        Acceptor::start(self, port)
    }
}

/// Accepts connections on a port of a host, of both families, until it is dropped. Belongs to the caller's runtime.
#[derive(Debug)]
pub struct Acceptor(JoinHandle<()>);

impl Acceptor {
    fn start(host: &Host, port: u16) -> Result<Self> {
        let what = || format!("listen on port {port} of {}", host.name());
        let listener = host.in_network(|| net::TcpListener::bind(("::", port)))?.doing(what)?;
        listener.set_nonblocking(true).doing(what)?;
        let listener = TcpListener::from_std(listener).doing(what)?;
        Ok(Self(tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                // A client that has closed the connection already is no failure.
                if let Ok((mut stream, _)) = listener.accept().await {
                    // Nothing is sent, but a connection that is closed at once would look like a refused one.
                    open.spawn(async move {
                        let _ = timeout(LINGER, stream.read(&mut [0])).await;
                    });
                }
                while open.try_join_next().is_some() {}
            }
        })))
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.abort();
    }
}
