//! The connection to a socket, and what is wrong with it if there is none.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// How many bytes of a peer tell what it speaks: the head of an HTTP/2 frame.
const HEAD: usize = 9;
/// The type of the HTTP/2 frame that a server sends first.
const SETTINGS: u8 = 4;

/// Why a socket cannot be used, as a sentence with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis(String);

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Diagnosis {}

/// The first bytes that the peer of the last connection sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head(Arc<Mutex<Vec<u8>>>);

impl Head {
    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn add(&self, bytes: &[u8]) {
        let mut head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEAD.saturating_sub(head.len());
        head.extend(bytes.iter().take(room));
    }

    /// What the peer speaks, if that is not HTTP/2 without TLS.
    pub(crate) fn foreign_protocol(&self, socket: &Path) -> Option<Diagnosis> {
        let head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = socket.display();
        let text = match head.as_slice() {
            [b'H', b'T', b'T', b'P', b'/', b'1', ..] => format!(
                "the program that listens on {socket} speaks HTTP/1, and not gRPC: let a sidecar of this protocol listen there, or name its socket in spec.external.socket"
            ),
            // An alert or a handshake.
            [0x15 | 0x16, 0x03, ..] => format!(
                "the program that listens on {socket} speaks TLS: let it serve gRPC without TLS there; only who may open the socket can call it"
            ),
            [] | [_, _, _, SETTINGS, ..] => return None,
            _ => format!(
                "the program that listens on {socket} does not speak gRPC: let a sidecar of this protocol listen there, or name its socket in spec.external.socket"
            ),
        };
        Some(Diagnosis(text))
    }
}

/// Connects to the socket.
///
/// # Errors
/// The socket cannot be used.
pub(crate) async fn connect(socket: &Path, head: Head) -> Result<Connection, Diagnosis> {
    head.clear();
    match UnixStream::connect(socket).await {
        Ok(stream) => Ok(Connection { stream, head }),
        Err(error) => Err(diagnose(socket, &error)),
    }
}

fn diagnose(socket: &Path, error: &io::Error) -> Diagnosis {
    let found = std::fs::symlink_metadata(socket);
    let path = socket.display();
    let directory = socket.parent().unwrap_or(Path::new("/")).display();
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no socket {path} ({error}): check that the sidecar runs in the allocator's pod, creates its socket there, and that both containers mount the volume of {directory}"
        ),
        _ if found.as_ref().is_ok_and(|found| !found.file_type().is_socket()) => {
            format!(
                "{path} is not a socket: let the sidecar create its socket there, or name its socket in spec.external.socket"
            )
        }
        io::ErrorKind::ConnectionRefused => format!(
            "nobody listens on {path} ({error}): a sidecar that has ended left the file; check that the sidecar runs"
        ),
        io::ErrorKind::PermissionDenied => match found {
            Ok(found) => no_permission(socket, found.mode(), (found.uid(), found.gid()), this_process()),
            Err(_) => format!(
                "no permission for the directory {directory} ({error}): set fsGroup in the securityContext of the allocator's pod, as the component external-ipam does"
            ),
        },
        _ => format!("cannot connect to {path}: {error}"),
    };
    Diagnosis(text)
}

fn no_permission(socket: &Path, mode: u32, owner: (u32, u32), this: Option<(u32, u32)>) -> String {
    let (user, group) = owner;
    let this = this
        .map_or_else(String::new, |(user, group)| format!(", and the allocator runs as user {user} and group {group}"));
    format!(
        "no permission for the socket {}: it has mode {:04o}, user {user} and group {group}{this}; let the sidecar create it with mode 0660 and the allocator's group, or run as the allocator's user",
        socket.display(),
        mode & 0o7777,
    )
}

/// User and group of this process.
fn this_process() -> Option<(u32, u32)> {
    std::fs::metadata("/proc/self").ok().map(|process| (process.uid(), process.gid()))
}

/// A connection that keeps what the peer says first.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    head: Head,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.head.add(buffer.filled().get(before..).unwrap_or_default());
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(socket: &Path) -> String {
        connect(socket, Head::default()).await.unwrap_err().to_string()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn each_way_to_find_no_sidecar_has_a_sentence_of_its_own() {
        let directory = std::env::temp_dir().join(format!("purelb-connection-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("ipam.sock");
        let absent = error(&socket).await;
        assert!(absent.contains("there is no socket") && absent.contains("mount the volume"), "{absent}");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let stale = error(&socket).await;
        assert!(stale.contains("nobody listens") && stale.contains("left the file"), "{stale}");
        let file = directory.join("file");
        std::fs::write(&file, "").unwrap();
        assert!(error(&file).await.contains("is not a socket"));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_missing_permission_names_mode_and_group() {
        let text = no_permission(Path::new("/run/ipam.sock"), 0o140_755, (0, 7), Some((65534, 65534)));
        assert!(text.contains("mode 0755, user 0 and group 7") && text.contains("mode 0660"), "{text}");
        assert!(text.contains("user 65534 and group 65534"), "{text}");
    }

    #[test]
    fn the_first_bytes_tell_what_a_peer_speaks() {
        let told = |bytes: &[u8]| {
            let head = Head::default();
            head.add(bytes);
            head.foreign_protocol(Path::new("/s")).map_or_else(String::new, |diagnosis| diagnosis.to_string())
        };
        assert!(told(b"HTTP/1.1 400 Bad Request").contains("HTTP/1"));
        assert!(told(&[0x15, 3, 1, 0, 2]).contains("TLS"));
        assert!(told(b"220 smtp.example.org").contains("does not speak gRPC"));
        assert_eq!(told(&[0, 0, 18, 4, 0, 0, 0, 0, 0]), "");
        assert_eq!(told(&[]), "");
    }
}
