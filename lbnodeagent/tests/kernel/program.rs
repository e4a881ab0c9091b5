//! The program itself: its probes, its stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::node::{interfaces, kubeconfig};
use crate::support::{eventually, in_namespace};

fn get(path: &str) -> Option<String> {
    let mut stream = TcpStream::connect("127.0.0.1:7472").ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn alive_without_an_api_server_and_stopped_gracefully() {
    in_namespace(|| async {
        interfaces();
        let path = kubeconfig();
        for _ in 0..3 {
            let mut program = Command::new(env!("CARGO_BIN_EXE_lbnodeagent"))
                .args(["--namespace=purelb", "--node-name=n1", "--kubeconfig"])
                .arg(&path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let took =
                eventually("alive", || get("/healthz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))).await;
            eprintln!("alive after {took:?}");
            let unready =
                |answer: String| answer.starts_with("HTTP/1.1 503") && answer.contains("waiting for the list of");
            eventually("/readyz names what is missing", || get("/readyz").is_some_and(unready)).await;
            assert!(get("/state").unwrap().contains("\"missing\":\"the list of Services\""));
            assert!(get("/metrics").unwrap().contains("purelb_lbnodeagent_address_additions_total 0"));
            let start = Instant::now();
            assert!(Command::new("kill").arg(program.id().to_string()).status().unwrap().success());
            let status = program.wait().unwrap();
            assert!(
                status.success() && start.elapsed() < Duration::from_secs(3),
                "{status} after {:?}",
                start.elapsed()
            );
        }
        std::fs::remove_file(path).unwrap();
    });
}
