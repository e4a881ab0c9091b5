//! A service proxy of a few rules, servers and clients for the tests of the VIP guard.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// Runs `nft` with these commands; they must succeed.
pub fn nft(commands: &str) -> String {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command nft is missing");
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "nft: {commands}: {text}");
    text
}

/// Our table as `nft` shows it; nothing if there is none.
pub fn our_table() -> Option<String> {
    let output =
        Command::new("nft").args(["list", "table", "inet", "purelb"]).output().expect("the command nft is missing");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Listens on a port of all addresses of this namespace and answers each connection with a word, until it is dropped.
pub struct Server(Arc<AtomicBool>);

impl Server {
    pub fn start(port: u16) -> Self {
        Self::answering(port, "hello")
    }

    /// What kube-proxy answers on its metrics port.
    pub fn kube_proxy(mode: &str) -> Self {
        Self::answering(10_249, &format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{mode}", mode.len()))
    }

    pub fn answering(port: u16, answer: &str) -> Self {
        let listener = TcpListener::bind(("::", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stopped, answer) = (Arc::new(AtomicBool::new(false)), answer.to_owned());
        let server = Self(stopped.clone());
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                    // Without reading a request first, closing would reset the connection.
                    let _request = stream.read(&mut [0; 1024]);
                    let _gone = stream.write_all(answer.as_bytes());
                } else {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Connected,
    Refused,
    Silence,
}

/// Connects to a port within a time.
pub fn connect_within(ip: &str, port: u16, time: Duration) -> Outcome {
    let to = SocketAddr::new(ip.parse().unwrap(), port);
    match TcpStream::connect_timeout(&to, time) {
        Ok(_) => Outcome::Connected,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(error) if error.kind() == ErrorKind::TimedOut => Outcome::Silence,
        Err(error) => panic!("{to}: {error}"),
    }
}

/// Connects to a port; a packet that was dropped is not repeated within this time.
pub fn connect(ip: &str, port: u16) -> Outcome {
    connect_within(ip, port, Duration::from_millis(300))
}

/// Whether a connection from this address of the host to a port succeeds.
pub fn connect_from(source: &str, ip: &str, port: u16) -> bool {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address = |ip: &str, port| socket2::SockAddr::from(SocketAddr::new(ip.parse().unwrap(), port));
    socket.bind(&address(source, 0)).unwrap();
    socket.connect_timeout(&address(ip, port), Duration::from_secs(2)).is_ok()
}

/// Whether an address answers an echo request of ICMP.
pub fn answers_echo(ip: &str) -> bool {
    let is_v4 = ip.parse::<IpAddr>().unwrap().is_ipv4();
    let (domain, protocol, request, answer) = if is_v4 {
        (socket2::Domain::IPV4, socket2::Protocol::ICMPV4, 8, 0)
    } else {
        (socket2::Domain::IPV6, socket2::Protocol::ICMPV6, 128, 129)
    };
    let mut socket = socket2::Socket::new(domain, socket2::Type::RAW, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // The identifier 0x4242. The kernel computes the checksum for IPv6 only.
    let sum = !(u16::from(request) << 8).wrapping_add(0x4242);
    let [high, low] = if is_v4 { sum.to_be_bytes() } else { [0, 0] };
    let to = socket2::SockAddr::from(SocketAddr::new(ip.parse().unwrap(), 0));
    socket.send_to(&[request, 0, high, low, 0x42, 0x42, 0, 0], &to).unwrap();
    let mut buffer = [0; 128];
    while let Ok(length) = socket.read(&mut buffer) {
        // For IPv4 the header comes first.
        let message = if is_v4 { &buffer[20..length] } else { &buffer[..length] };
        if message[0] == answer && message[4..6] == [0x42, 0x42] {
            return true;
        }
    }
    false
}

/// Whether an IPv4 address answers with a reset to a segment of TCP without any flag, which belongs to no connection.
pub fn resets(source: &str, ip: &str, port: u16) -> bool {
    let [from, to] = [source, ip].map(|text| text.parse::<std::net::Ipv4Addr>().unwrap());
    let protocol = Some(socket2::Protocol::TCP);
    let mut socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, protocol).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&4242_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&port.to_be_bytes());
    segment[12] = 5 << 4;
    // The checksum is also over the addresses, the protocol and the length (RFC 9293, section 3.1).
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 6, 0, 20], &segment].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    socket.send_to(&segment, &socket2::SockAddr::from(SocketAddr::new(to.into(), 0))).unwrap();
    let mut buffer = [0; 128];
    while let Ok(length) = socket.read(&mut buffer) {
        let answer = &buffer[20..length];
        if answer[..2] == port.to_be_bytes() && answer[2..4] == 4242_u16.to_be_bytes() && answer[13] & 4 != 0 {
            return true;
        }
    }
    false
}

/// Makes the tables of kube-proxy in nftables mode, without rules for any port.
pub fn proxy_tables() {
    for (family, kind) in [("ip", "ipv4_addr"), ("ip6", "ipv6_addr")] {
        nft(&format!(
            "table {family} kube-proxy {{
                map service-ips {{ type {kind} . inet_proto . inet_service : verdict; }}
                map no-endpoint-services {{ type {kind} . inet_proto . inet_service : verdict; }}
                chain reject-chain {{ reject; }}
                chain services {{ {family} daddr . meta l4proto . th dport vmap @service-ips; }}
                chain endpoints {{ ct state new {family} daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
                chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
                chain nat-output {{ type nat hook output priority -100; jump services; }}
                chain filter-input {{ type filter hook input priority 0; jump endpoints; }}
                chain filter-output {{ type filter hook output priority 0; jump endpoints; }}
            }}"
        ));
    }
}

/// Adds what kube-proxy has for a port of an address: packets go to this port of that address.
pub fn translate(vip: &str, port: u16, to: &str, to_port: u16) {
    translate_protocol("tcp", vip, port, to, to_port);
}

/// As [`translate`], for a protocol.
pub fn translate_protocol(protocol: &str, vip: &str, port: u16, to: &str, to_port: u16) {
    let is_v4 = vip.parse::<IpAddr>().unwrap().is_ipv4();
    let (family, to) = if is_v4 { ("ip", to.to_owned()) } else { ("ip6", format!("[{to}]")) };
    let chain = format!("service-{protocol}-{port}");
    nft(&format!(
        "add chain {family} kube-proxy {chain}
         add rule {family} kube-proxy {chain} meta l4proto {protocol} dnat to {to}:{to_port}
         add element {family} kube-proxy service-ips {{ {vip} . {protocol} . {port} : goto {chain} }}"
    ));
}

/// Adds what kube-proxy has for a port of an address without endpoints.
pub fn refuse(vip: &str, port: u16) {
    nft(&format!("add element ip kube-proxy no-endpoint-services {{ {vip} . tcp . {port} : goto reject-chain }}"));
}

/// A Service with these ports of TCP.
pub fn with_ports(mut service: Value, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({"port": port, "name": format!("p{port}")})).collect();
    service["spec"]["ports"] = Value::from(ports);
    service
}
