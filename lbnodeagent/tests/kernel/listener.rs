//! The agent's questions to the link, and the frames that it receives, with a second kernel at the far end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lbnodeagent::kernel::packet::frames::{announcement, probe, reach};
use lbnodeagent::kernel::packet::listener::Listener;
use lbnodeagent::kernel::packet::socket::PacketSocket;
use nix::net::if_::if_nametoindex;
use ownership::NeighborFrame;
use tokio::time::{sleep, timeout};

use crate::support::{Far, eventually, in_namespace, ip};
use crate::wire::{FAR, NEAR, OTHER, Wire, addr, question};

#[test]
fn a_kernel_answers_our_questions() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let own: Ipv6Addr = "2001:db8::a".parse().unwrap();
        for to in [None, Some(FAR)] {
            wire.send(probe(addr("192.0.2.11"), NEAR, None, to));
            wire.wait_for((FAR, NeighborFrame::Reply(addr("192.0.2.11")))).await;
            wire.send(reach(addr("192.0.2.11"), NEAR, addr("192.0.2.10"), to));
            wire.wait_for((FAR, NeighborFrame::Reply(addr("192.0.2.11")))).await;
            for target in ["2001:db8::b", "fe80::b"] {
                wire.send(probe(addr(target), NEAR, Some(own), to));
                wire.wait_for((FAR, NeighborFrame::Reply(addr(target)))).await;
                wire.send(reach(addr(target), NEAR, own.into(), to));
                wire.wait_for((FAR, NeighborFrame::Reply(addr(target)))).await;
            }
        }
    });
}

#[test]
fn nobody_answers_for_a_free_address_and_our_own_frames_are_ignored() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let _ = wire.received().await;
        let own: Ipv6Addr = "2001:db8::a".parse().unwrap();
        for to in [None, Some(FAR)] {
            wire.send(probe(addr("192.0.2.99"), NEAR, None, to));
            wire.send(reach(addr("192.0.2.99"), NEAR, addr("192.0.2.10"), to));
            wire.send(probe(addr("2001:db8::99"), NEAR, Some(own), to));
            wire.send(reach(addr("2001:db8::99"), NEAR, own.into(), to));
        }
        for frame in announcement(addr("192.0.2.99"), NEAR, None) {
            wire.send(Some(frame));
        }
        // A loop in the network may send our frames back to us.
        wire.send_from_far(probe(addr("192.0.2.99"), NEAR, None, None).unwrap());
        let received = wire.received().await;
        // Meanwhile the kernel of the far end may ask for our addresses.
        let strange: Vec<_> =
            received.iter().filter(|(mac, frame)| *mac != FAR || matches!(frame, NeighborFrame::Reply(_))).collect();
        assert!(strange.is_empty(), "{strange:?}");
    });
}

/// Our question does not remove an IPv6 address with a finite lifetime: the holder's kernel must not mistake it for the
/// duplicate address detection of another host.
#[test]
fn a_holder_keeps_its_address_when_asked() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        wire.far.run(|| ip("address add 2001:db8::f0/128 dev far nodad valid_lft 60 preferred_lft 60"));
        // The kernel joins the multicast group in the background. Before that, it receives no questions.
        let ready = || ip("-6 maddress show").contains("ff02::1:ff00:f0");
        eventually("it answers", || wire.far.run(ready)).await;
        let own: Ipv6Addr = "2001:db8::a".parse().unwrap();
        for _ in 0..3 {
            wire.send(probe(addr("2001:db8::f0"), NEAR, Some(own), None));
            wire.wait_for((FAR, NeighborFrame::Reply(addr("2001:db8::f0")))).await;
        }
        assert!(wire.far.run(|| ip("-6 address show dev far")).contains("2001:db8::f0"));
    });
}

#[test]
fn questions_and_announcements_of_other_kernels() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        wire.far.run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"x", "192.0.2.77:9").unwrap();
        });
        wire.wait_for((FAR, question("192.0.2.77", Some("192.0.2.11")))).await;
        // The kernel repeats its question every second.
        wire.wait_for((FAR, NeighborFrame::Announcement(addr("192.0.2.11")))).await;
        wire.far.run(|| {
            let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
            socket.send_to(b"x", "[2001:db8::77]:9").unwrap();
        });
        wire.wait_for((FAR, question("2001:db8::77", Some("2001:db8::b")))).await;
        // Duplicate address detection.
        wire.far.run(|| ip("address add 2001:db8::78/64 dev far"));
        wire.wait_for((FAR, question("2001:db8::78", None))).await;
        wire.send_from_far(probe(addr("192.0.2.78"), FAR, None, None).unwrap());
        wire.wait_for((FAR, question("192.0.2.78", None))).await;
        for address in ["192.0.2.79", "2001:db8::79"] {
            for frame in announcement(addr(address), OTHER, None) {
                wire.send_from_far(frame);
            }
            wire.wait_for((OTHER, NeighborFrame::Announcement(addr(address)))).await;
        }
    });
}

#[test]
fn other_packets_do_not_wake_the_agent() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let send = || {
            let sockets = ["0.0.0.0:0", "[::]:0"].map(|any| std::net::UdpSocket::bind(any).unwrap());
            sockets[0].send_to(b"x", "192.0.2.10:9").unwrap();
            sockets[1].send_to(b"x", "[2001:db8::a]:9").unwrap();
        };
        // Both kernels fill their neighbour caches.
        wire.far.run(send);
        assert!(!wire.received().await.is_empty());
        wire.far.run(send);
        assert!(timeout(Duration::from_millis(150), wire.listener.ready()).await.is_err());
    });
}

#[test]
fn frames_of_other_vlans_and_for_other_hosts_are_not_received() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let _ = wire.received().await;
        let tagged = |id: u8, frame: &[u8]| [&frame[..12], &[0x81, 0, 0, id], &frame[12..]].concat();
        let v4 = probe(addr("192.0.2.99"), OTHER, None, None).unwrap();
        let v6 = probe(addr("2001:db8::99"), OTHER, Some("fe80::c".parse().unwrap()), None).unwrap();
        for frame in [&v4, &v6] {
            wire.send_from_far(tagged(5, frame));
            // To another host.
            wire.send_from_far([&[2, 0, 0, 0, 0, 0x0d], &frame[6..]].concat());
            // Through a router.
            let mut routed = v6.clone();
            routed[21] = 254;
            wire.send_from_far(routed);
        }
        let received = wire.received().await;
        assert!(received.iter().all(|(mac, _)| *mac != OTHER), "{received:?}");
        let expected = [question("192.0.2.99", None), question("2001:db8::99", Some("fe80::c"))];
        // A tag with only a priority belongs to no VLAN (IEEE 802.1Q, 6.9.1).
        wire.send_from_far(tagged(0, &v4));
        wire.wait_for((OTHER, expected[0])).await;
        wire.send_from_far(v6);
        wire.wait_for((OTHER, expected[1])).await;
    });
}

/// Like a real network card, a macvlan delivers only the multicast groups that have been joined.
#[test]
fn questions_for_a_joined_address_are_received() {
    in_namespace(|| async {
        let far = Far::new();
        ip("link add wire type veth peer name unused");
        ip("link set wire up");
        ip("link set unused up");
        ip("link add eth0 link wire address 02:00:00:00:00:0a type macvlan mode bridge");
        ip(&format!("link add far0 link wire netns {} address 02:00:00:00:00:0b type macvlan mode bridge", far.thread));
        ip("link set eth0 up");
        far.run(|| ip("link set far0 up"));
        eventually("both ends are up", || {
            let up = |name: &str| ip(&format!("link show {name}")).contains("LOWER_UP");
            up("eth0") && far.run(move || up("far0"))
        })
        .await;
        let mut listener = Listener::open(if_nametoindex("eth0").unwrap()).unwrap();
        let is_received = async |listener: &mut Listener, target: Ipv6Addr| {
            let frame = probe(target.into(), FAR, Some("fe80::b".parse().unwrap()), None).unwrap();
            far.run(move || PacketSocket::open().unwrap().send(if_nametoindex("far0").unwrap(), &frame).unwrap());
            sleep(Duration::from_millis(100)).await;
            let expected = NeighborFrame::Request { target: target.into(), sender: Some(addr("fe80::b")) };
            listener.receive(NEAR).contains(&(FAR, expected))
        };
        // Like that of a network card, its filter is a hash, so it may deliver a group that nobody has joined.
        let mut last = 0x3450;
        while is_received(&mut listener, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, last)).await {
            last += 1;
            assert!(last < 0x3456, "every group is delivered");
        }
        let target = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, last);
        // Another address with the same last 24 bits.
        let twin = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0x12, last);
        let member = || ip("-6 maddress show dev eth0").contains(&format!("ff02::1:ff12:{last:x}"));
        assert!(!member());
        listener.join(target);
        assert!(is_received(&mut listener, target).await && member());
        listener.join(twin);
        listener.leave(target);
        assert!(is_received(&mut listener, target).await && member());
        // A macvlan forgets a group only at the next change, so the absence of frames proves nothing from here on.
        listener.leave(twin);
        assert!(!member());
        // Leaving and joining once too often does no harm.
        listener.leave(twin);
        listener.join(twin);
        assert!(is_received(&mut listener, target).await && member());
        ip("link delete eth0");
        listener.join(target);
        listener.leave(target);
    });
}

#[test]
fn an_interface_that_goes_down_comes_back_and_disappears() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        ip("link set eth0 down");
        assert!(wire.listener.receive(NEAR).iter().all(|(mac, _)| *mac == FAR));
        let mut opened_while_down = Listener::open(wire.index).unwrap();
        ip("link set eth0 up");
        eventually("eth0 is up", || ip("link show eth0").contains("state UP")).await;
        let frame = probe(addr("192.0.2.99"), OTHER, None, None).unwrap();
        wire.send_from_far(frame);
        wire.wait_for((OTHER, question("192.0.2.99", None))).await;
        std::mem::swap(&mut wire.listener, &mut opened_while_down);
        wire.wait_for((OTHER, question("192.0.2.99", None))).await;
        ip("link delete eth0");
        assert!(wire.received().await.iter().all(|(mac, _)| *mac == FAR));
        assert!(
            timeout(Duration::from_millis(50), wire.listener.ready()).await.is_err(),
            "ready() returns although the interface is gone"
        );
        assert!(Listener::open(wire.index).is_err());
        assert!(Listener::open(u32::MAX).is_err());
    });
}

#[test]
fn a_storm_is_read_in_parts_without_loss() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let _ = wire.received().await;
        wire.far.run(|| {
            let (socket, index) = (PacketSocket::open().unwrap(), if_nametoindex("far").unwrap());
            for last in 0..700_u16 {
                let [high, low] = last.to_be_bytes();
                let target = IpAddr::V4(Ipv4Addr::new(198, 18, high, low));
                socket.send(index, &probe(target, OTHER, None, None).unwrap()).unwrap();
            }
        });
        sleep(Duration::from_millis(100)).await;
        let mut counts = Vec::new();
        while timeout(Duration::from_millis(100), wire.listener.ready()).await.is_ok() {
            counts.push(wire.listener.receive(NEAR).iter().filter(|(mac, _)| *mac == OTHER).count());
        }
        assert_eq!(counts.iter().sum::<usize>(), 700, "{counts:?}");
        assert!(counts.len() >= 3 && counts.iter().all(|count| *count <= 512), "{counts:?}");
    });
}
