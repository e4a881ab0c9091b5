//! One HTTP request without a client library: enough for the pages of the programs.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::base::error::{Doing, Result, unexpected};

/// Gets a page by HTTP/1.0 and returns the body of an answer with status 200.
///
/// # Errors
/// There is no answer within 5 s, or its status is another one.
pub fn http_get(server: SocketAddr, path: &str) -> Result<String> {
    let what = || format!("get http://{server}{path}");
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&server, patience).doing(what)?;
    stream.set_read_timeout(Some(patience)).doing(what)?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes()).doing(what)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).doing(what)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        status => Err(unexpected(format!("http://{server}{path}"), format!("status {status:?}"))),
    }
}
