//! Datagrams of one peer, 25 bytes each: how long after the one before (in 8 ms), then the packet. A packet whose Your
//! Discriminator is 1 gets the session's.

use bfd::wanted::WantedPeer;
use bfd::{Action, Datagram, Event, Hops, Packet, Rng, State, Table, Time, Wanted};

/// Runs the datagrams of an input through a table.
pub fn drive(bytes: &[u8]) {
    let source = "192.0.2.1".parse().expect("an address");
    let destination = "192.0.2.10".parse().expect("an address");
    let peers = Wanted::new(vec![WantedPeer::new(source)]).peers().expect("a peer");
    let mut table = Table::new(Rng::new(1), &[]);
    let mut now = Time::from_millis(1000);
    table.handle(now, Event::Peers(peers.into_iter().map(|peer| (peer, Vec::new())).collect()));
    for chunk in bytes.chunks(25) {
        let (later, packet) = chunk.split_first().expect("a chunk has bytes");
        now = now.after(std::time::Duration::from_millis(8 * u64::from(*later)));
        let mut packet = packet.to_vec();
        let session = table.report()[0].sessions.first().map(|session| session.local_discriminator);
        if let (Some(session), Some(your)) = (session, packet.get_mut(8..12))
            && your == [0, 0, 0, 1]
        {
            your.copy_from_slice(&session.to_be_bytes());
        }
        let datagram =
            Datagram { source, interface: "eth0", destination, hops: Hops::Single, ttl: 255, bytes: &packet };
        for action in table.handle(now, Event::Datagram(datagram)) {
            if let Action::Send(sent) = action {
                let sent = Packet::decode(&sent.bytes).expect("we send what we understand");
                assert!(sent.state != State::AdminDown && !(sent.poll && sent.final_));
            }
        }
        assert!(table.next_deadline().is_none_or(|at| at > now));
        assert!(table.report()[0].sessions.len() <= 1);
    }
}
