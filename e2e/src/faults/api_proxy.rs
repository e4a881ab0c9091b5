//! A proxy of the API server that a test can block: completely, as a partition does, or one write, as a slow network
//! does.
//!
//! `kubectl proxy` authenticates. A relay in front of it understands just enough HTTP to tell one request from the next.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    base::error::{Doing, Error, Result, unexpected},
    cluster::handle::Cluster,
};

/// A relay in front of the API server. It ends when it is dropped.
#[derive(Debug)]
pub struct ApiProxy {
    kubectl: Child,
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    frozen: watch::Sender<bool>,
    hold: Mutex<Option<Hold>>,
}

/// Which request to hold back, and the channels to the [`HeldRequest`].
#[derive(Debug)]
struct Hold {
    method: String,
    path: String,
    /// How many such requests go through before.
    skip: usize,
    caught: oneshot::Sender<()>,
    release: oneshot::Receiver<()>,
    answer: oneshot::Sender<u16>,
}

/// A request that the proxy holds back, or will hold back when it comes.
#[derive(Debug)]
pub struct HeldRequest {
    what: String,
    caught: Option<oneshot::Receiver<()>>,
    release: oneshot::Sender<()>,
    answer: oneshot::Receiver<u16>,
}

impl HeldRequest {
    /// Waits until the request has come, and is held back.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn caught(&mut self, deadline: Duration) -> Result<()> {
        let Some(caught) = self.caught.take() else { return Ok(()) };
        match tokio::time::timeout(deadline, caught).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::Deadline { what: self.what.clone(), deadline, last: "it has not come".into() }),
        }
    }

    /// Lets it through, and returns the status code of the API server's answer. Its client has given up by then.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn release(self) -> Result<u16> {
        let gone = || unexpected(self.what.clone(), "it was never caught, or never answered");
        self.release.send(()).map_err(|()| gone())?;
        let deadline = Duration::from_secs(20);
        tokio::time::timeout(deadline, self.answer).await.map_err(|_| gone())?.map_err(|_| gone())
    }
}

impl ApiProxy {
    /// Starts one; `name` is that of its kubeconfig.
    ///
    /// # Errors
    /// `kubectl proxy` does not start.
    pub async fn start(cluster: &Cluster, name: &str) -> Result<Self> {
        let mut kubectl = cluster
            .kubectl_command()?
            .args(["proxy", "--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| "start kubectl proxy".into())?;
        let mut line = String::new();
        if let Some(output) = kubectl.stdout.take() {
            BufReader::new(output).read_line(&mut line).doing(|| "read what kubectl proxy says".into())?;
        }
        // Starting to serve on 127.0.0.1:40193
        let target: Option<SocketAddr> = line.trim().rsplit(' ').next().and_then(|word| word.parse().ok());
        let target = target.ok_or_else(|| unexpected("kubectl proxy", &line))?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.doing(|| "listen for the relay".into())?;
        let address = listener.local_addr().doing(|| "listen for the relay".into())?;
        let kubeconfig = cluster.layout().directory().join(format!("proxy-{name}.kubeconfig"));
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: p, contexts: [{{name: p, context: {{cluster: p, user: p}}}}], users: [{{name: p, user: {{}}}}], clusters: [{{name: p, cluster: {{server: \"http://{address}\"}}}}]}}"
        );
        fs::write(&kubeconfig, text).doing(|| format!("write {}", kubeconfig.display()))?;
        let shared = Arc::new(Shared { target, frozen: watch::Sender::new(false), hold: Mutex::new(None) });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { kubectl, kubeconfig, shared, task })
    }

    /// The kubeconfig of a client that is to use the proxy.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// Holds everything back from now on; connections stay open.
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// Lets everything through again, including what was held back.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }

    /// Holds back the next request with this method and this text in its path; all others go through.
    #[must_use]
    pub fn hold(&self, method: &str, path: &str) -> HeldRequest {
        self.hold_after(0, method, path)
    }

    /// [`Self::hold`] for a later such request: the first `skip` of them go through.
    #[must_use]
    pub fn hold_after(&self, skip: usize, method: &str, path: &str) -> HeldRequest {
        let (caught_sender, caught) = oneshot::channel();
        let (release, release_receiver) = oneshot::channel();
        let (answer_sender, answer) = oneshot::channel();
        let hold = Hold {
            method: method.to_owned(),
            path: path.to_owned(),
            skip,
            caught: caught_sender,
            release: release_receiver,
            answer: answer_sender,
        };
        *self.shared.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
        HeldRequest { what: format!("{method} {path} at the proxy"), caught: Some(caught), release, answer }
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.task.abort();
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(relay(near, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(near: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let far = TcpStream::connect(shared.target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        ended = pass_on(far_in, near_out, &shared) => ended,
        ended = requests(near_in, far_out, &shared) => ended,
    }
}

async fn until_thawed(shared: &Shared) {
    // The sender lives as long as this.
    let _ = shared.frozen.subscribe().wait_for(|frozen| !frozen).await;
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        until_thawed(shared).await;
        match buffer.get(..length) {
            None | Some([]) => return to.shutdown().await,
            Some(bytes) => to.write_all(bytes).await?,
        }
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some(length) = complete(&bytes) else {
            if from.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let rest = bytes.split_off(length);
        let request = std::mem::replace(&mut bytes, rest);
        until_thawed(shared).await;
        let Some(hold) = wanted(&request, shared) else {
            to.write_all(&request).await?;
            continue;
        };
        // In a task of its own, since who sent it may hang up. It ends with its `HeldRequest`.
        let target = shared.target;
        tokio::spawn(late(request, hold, target));
        // Nothing else comes on this connection before the answer.
        return std::future::pending().await;
    }
}

/// The length of the first request in these bytes, if all of it is there.
fn complete(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(bytes.get(..head)?).to_ascii_lowercase();
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    if header("transfer-encoding") == Some("chunked") {
        let end = bytes.get(head..)?.windows(5).position(|window| window == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let body: usize = header("content-length").map_or(Some(0), |length| length.parse().ok())?;
    (bytes.len() >= head + body).then_some(head + body)
}

/// The hold that is meant for this request.
fn wanted(request: &[u8], shared: &Shared) -> Option<Hold> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut hold = shared.hold.lock().unwrap_or_else(PoisonError::into_inner);
    let found = hold.as_mut().filter(|hold| hold.method == method && path.contains(&hold.path))?;
    if found.skip > 0 {
        found.skip -= 1;
        return None;
    }
    hold.take()
}

/// Sends the request when it is released, and reports the status of the answer.
async fn late(request: Vec<u8>, hold: Hold, target: SocketAddr) {
    // A test that has gone on without it is fine.
    let _ = hold.caught.send(());
    if hold.release.await.is_err() {
        return;
    }
    let sent = async {
        let mut stream = TcpStream::connect(target).await?;
        stream.write_all(&request).await?;
        let mut answer = Vec::new();
        while !answer.windows(2).any(|window| window == b"\r\n") && stream.read_buf(&mut answer).await? > 0 {}
        std::io::Result::Ok(answer)
    };
    let answer = sent.await.unwrap_or_default();
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|code| code.parse().ok());
    if let Some(status) = status {
        let _ = hold.answer.send(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_one_request_from_the_next() {
        assert_eq!(complete(b"GET / HTTP/1.1\r\nHost: x\r\n"), None);
        assert_eq!(complete(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"), Some(27));
        assert_eq!(complete(b"PATCH / HTTP/1.1\r\nContent-Length: 3\r\n\r\n{}"), None);
        assert_eq!(complete(b"PATCH / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET"), Some(41));
        assert_eq!(complete(b"PATCH / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), Some(60));
    }
}
