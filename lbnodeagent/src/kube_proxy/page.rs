//! A page of an HTTP server on this node.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a page may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// The most that is read of one, headers included. What is asked for here is a word.
const MOST: u64 = 4096;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The status code.
    pub(super) status: u16,
    /// The content, as far as it was read.
    pub(super) content: String,
}

/// Asks for a page at a port of loopback; nothing if there is no answer in time, or none that is HTTP.
pub(super) async fn get(port: u16, path: &str) -> Option<Page> {
    let bytes = timeout(DEADLINE, read(port, path)).await.ok()?.ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

async fn read(port: u16, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(stream) => stream,
        // On a node with IPv6 alone, it listens there.
        Err(_) => TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await?,
    };
    // An answer to HTTP/1.0 comes in one piece and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(MOST).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn parse(text: &str) -> Option<Page> {
    let (head, content) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.split("\r\n").next()?.parse().ok()?;
    Some(Page { status, content: content.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_server_is_read() {
        let page = |status, content: &str| Some(Page { status, content: content.to_owned() });
        assert_eq!(parse("HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nnftables"), page(200, "nftables"));
        assert_eq!(parse("HTTP/1.1 503 Service Unavailable\r\n\r\n"), page(503, ""));
        assert_eq!(parse("HTTP/1.0 204\r\nX: y\r\n\r\n"), page(204, ""));
        for other in
            ["", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.0 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 99999\r\n\r\n"]
        {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
