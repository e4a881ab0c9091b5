//! The faults of the network, which other tests take for granted.

use std::{
    net::{IpAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use e2e::{Cluster, GOSSIP_PORT, Node};

/// How many of three datagrams from the client to this port of a node pass the switch.
fn arrive(cluster: &Cluster, node: &Node, port: u16) -> usize {
    let client = cluster.client();
    let socket = client.in_network(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    thread::scope(|scope| {
        let heard = scope.spawn(|| node.capture_datagrams(port, 3, Duration::from_millis(300)).unwrap());
        for number in 0..30 {
            // The listener may not listen yet, and other datagrams than ours do not count.
            socket.send_to(b"fault test", (node.id().ipv4(), port)).unwrap();
            thread::sleep(Duration::from_millis(if number < 29 { 10 } else { 0 }));
        }
        heard.join().unwrap().iter().filter(|datagram| datagram.payload() == b"fault test").count()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_takes_away_what_it_says_and_gives_it_back() {
    let cluster = Cluster::shared().await.unwrap();
    let (node, client) = (cluster.node(1), cluster.client());
    let addresses: [IpAddr; 2] = [node.id().ipv4().into(), node.id().ipv6().into()];
    let answers = || addresses.map(|address| client.arp(address).unwrap().is_some());
    assert_eq!((answers(), arrive(&cluster, &node, GOSSIP_PORT) > 0), ([true; 2], true));

    let deaf = node.drop_inbound().unwrap();
    assert_eq!(answers(), [false; 2]);
    deaf.end().unwrap();

    let gossip = node.drop_gossip().unwrap();
    assert_eq!(answers(), [true; 2]);
    assert_eq!(arrive(&cluster, &node, GOSSIP_PORT), 0);
    assert!(arrive(&cluster, &node, GOSSIP_PORT + 1) > 0);
    gossip.end().unwrap();

    let all_else = cluster.drop_all_but_gossip(&node).unwrap();
    assert_eq!(answers(), [false; 2]);
    all_else.end().unwrap();
    assert_eq!((answers(), arrive(&cluster, &node, GOSSIP_PORT) > 0), ([true; 2], true));

    let monitors = addresses.map(|address| client.monitor(address).unwrap());
    let lossy = cluster.drop_frames(50).unwrap();
    let from = Instant::now();
    thread::sleep(Duration::from_secs(1));
    for monitor in &monitors {
        let part = monitor.so_far().since(from);
        let (asked, answered) = (part.requests.len(), part.answers().count());
        // A quarter, and far from all or none.
        assert!(answered > asked / 20 && answered < asked / 2, "{answered} answers to {asked} requests");
    }
    lossy.end().unwrap();
    let from = Instant::now();
    thread::sleep(Duration::from_millis(500));
    for monitor in monitors {
        assert_eq!(monitor.stop().unwrap().since(from).longest_silence(), Duration::ZERO);
    }
}
