//! Forwards connections of the machine to the API server. The listening socket is on the machine's loopback interface;
//! the process that uses it is inside the control plane's network namespace.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    time::Duration,
};

use tokio::{
    net::{TcpListener as AsyncListener, TcpStream},
    task::JoinSet,
};

use crate::base::error::{Doing, Result};

/// The hidden subcommand `lab forward`: each connection to the socket that is its standard input is continued to
/// `target`.
///
/// # Errors
/// Standard input is not a listening socket.
pub async fn run(target: SocketAddr) -> Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned().doing(|| "take over the socket".into())?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).doing(|| "use the socket".into())?;
    let listener = AsyncListener::from_std(listener).doing(|| "use the socket".into())?;
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((near, _)) => {
                connections.spawn(relay(near, target));
                while connections.try_join_next().is_some() {}
            }
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn relay(mut near: TcpStream, target: SocketAddr) {
    let relayed = async {
        let mut far = TcpStream::connect(target).await?;
        far.set_nodelay(true)?;
        near.set_nodelay(true)?;
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    };
    // Either end may hang up at any time.
    let _: io::Result<(u64, u64)> = relayed.await;
}
