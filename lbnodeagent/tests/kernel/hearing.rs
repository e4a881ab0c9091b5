//! Asking the link and hearing what is said there, with a second kernel at the far end.

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
            wire.ask(probe(addr("192.0.2.11"), NEAR, None, to));
            wire.waits_for((FAR, NeighborFrame::Reply(addr("192.0.2.11")))).await;
            wire.ask(reach(addr("192.0.2.11"), NEAR, addr("192.0.2.10"), to));
            wire.waits_for((FAR, NeighborFrame::Reply(addr("192.0.2.11")))).await;
            for target in ["2001:db8::b", "fe80::b"] {
                wire.ask(probe(addr(target), NEAR, Some(own), to));
                wire.waits_for((FAR, NeighborFrame::Reply(addr(target)))).await;
                wire.ask(reach(addr(target), NEAR, own.into(), to));
                wire.waits_for((FAR, NeighborFrame::Reply(addr(target)))).await;
            }
        }
    });
}

#[test]
fn nobody_answers_for_a_free_address_and_we_do_not_hear_ourselves() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let _ = wire.heard().await;
        let own: Ipv6Addr = "2001:db8::a".parse().unwrap();
        for to in [None, Some(FAR)] {
            wire.ask(probe(addr("192.0.2.99"), NEAR, None, to));
            wire.ask(reach(addr("192.0.2.99"), NEAR, addr("192.0.2.10"), to));
            wire.ask(probe(addr("2001:db8::99"), NEAR, Some(own), to));
            wire.ask(reach(addr("2001:db8::99"), NEAR, own.into(), to));
        }
        for frame in announcement(addr("192.0.2.99"), NEAR, None) {
            wire.ask(Some(frame));
        }
        // Not even what some loop in the network brings back.
        wire.tell(probe(addr("192.0.2.99"), NEAR, None, None).unwrap());
        let heard = wire.heard().await;
        // The kernel of the far end may look for our addresses meanwhile.
        let strange: Vec<_> =
            heard.iter().filter(|(mac, frame)| *mac != FAR || matches!(frame, NeighborFrame::Reply(_))).collect();
        assert!(strange.is_empty(), "{strange:?}");
    });
}

/// An IPv6 address with a finite lifetime survives our question: the kernel does not take it for another host's
/// duplicate address detection.
#[test]
fn a_holder_keeps_its_address_when_asked() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        wire.far.run(|| ip("address add 2001:db8::f0/128 dev far nodad valid_lft 60 preferred_lft 60"));
        // The kernel joins the group, without which it hears no questions, in the background.
        let ready = || ip("-6 maddress show").contains("ff02::1:ff00:f0");
        eventually("it answers", || wire.far.run(ready)).await;
        let own: Ipv6Addr = "2001:db8::a".parse().unwrap();
        for _ in 0..3 {
            wire.ask(probe(addr("2001:db8::f0"), NEAR, Some(own), None));
            wire.waits_for((FAR, NeighborFrame::Reply(addr("2001:db8::f0")))).await;
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
        wire.waits_for((FAR, question("192.0.2.77", Some("192.0.2.11")))).await;
        // The kernel repeats it each second.
        wire.waits_for((FAR, NeighborFrame::Announcement(addr("192.0.2.11")))).await;
        wire.far.run(|| {
            let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
            socket.send_to(b"x", "[2001:db8::77]:9").unwrap();
        });
        wire.waits_for((FAR, question("2001:db8::77", Some("2001:db8::b")))).await;
        // Duplicate address detection.
        wire.far.run(|| ip("address add 2001:db8::78/64 dev far"));
        wire.waits_for((FAR, question("2001:db8::78", None))).await;
        wire.tell(probe(addr("192.0.2.78"), FAR, None, None).unwrap());
        wire.waits_for((FAR, question("192.0.2.78", None))).await;
        for address in ["192.0.2.79", "2001:db8::79"] {
            for frame in announcement(addr(address), OTHER, None) {
                wire.tell(frame);
            }
            wire.waits_for((OTHER, NeighborFrame::Announcement(addr(address)))).await;
        }
    });
}

#[test]
fn other_packets_do_not_wake_us() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let send = || {
            let sockets = ["0.0.0.0:0", "[::]:0"].map(|any| std::net::UdpSocket::bind(any).unwrap());
            sockets[0].send_to(b"x", "192.0.2.10:9").unwrap();
            sockets[1].send_to(b"x", "[2001:db8::a]:9").unwrap();
        };
        // The neighbours get to know each other.
        wire.far.run(send);
        assert!(!wire.heard().await.is_empty());
        wire.far.run(send);
        assert!(timeout(Duration::from_millis(150), wire.ear.ready()).await.is_err());
    });
}

#[test]
fn other_vlans_and_other_hosts_frames_are_not_heard() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let _ = wire.heard().await;
        let tagged = |id: u8, frame: &[u8]| [&frame[..12], &[0x81, 0, 0, id], &frame[12..]].concat();
        let v4 = probe(addr("192.0.2.99"), OTHER, None, None).unwrap();
        let v6 = probe(addr("2001:db8::99"), OTHER, Some("fe80::c".parse().unwrap()), None).unwrap();
        for frame in [&v4, &v6] {
            wire.tell(tagged(5, frame));
            // To some other host.
            wire.tell([&[2, 0, 0, 0, 0, 0x0d], &frame[6..]].concat());
            // Through a router.
            let mut routed = v6.clone();
            routed[21] = 254;
            wire.tell(routed);
        }
        let heard = wire.heard().await;
        assert!(heard.iter().all(|(mac, _)| *mac != OTHER), "{heard:?}");
        let expected = [question("192.0.2.99", None), question("2001:db8::99", Some("fe80::c"))];
        // A tag with a priority only is no VLAN (IEEE 802.1Q, 6.9.1).
        wire.tell(tagged(0, &v4));
        wire.waits_for((OTHER, expected[0])).await;
        wire.tell(v6);
        wire.waits_for((OTHER, expected[1])).await;
    });
}

/// A macvlan lets through only the groups that somebody has joined, as real network cards do.
#[test]
fn questions_for_a_joined_address_are_heard() {
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
        let mut ear = Listener::open(if_nametoindex("eth0").unwrap()).unwrap();
        let heard = async |ear: &mut Listener, target: Ipv6Addr| {
            let frame = probe(target.into(), FAR, Some("fe80::b".parse().unwrap()), None).unwrap();
            far.run(move || PacketSocket::open().unwrap().send(if_nametoindex("far0").unwrap(), &frame).unwrap());
            sleep(Duration::from_millis(100)).await;
            let expected = NeighborFrame::Request { target: target.into(), sender: Some(addr("fe80::b")) };
            ear.receive(NEAR).contains(&(FAR, expected))
        };
        // Like those of network cards its filter is a hash: some groups are let through for the sake of another.
        let mut last = 0x3450;
        while heard(&mut ear, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, last)).await {
            last += 1;
            assert!(last < 0x3456, "everything is heard");
        }
        let target = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, last);
        // Another address with the same last 24 bits.
        let twin = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0x12, last);
        let member = || ip("-6 maddress show dev eth0").contains(&format!("ff02::1:ff12:{last:x}"));
        assert!(!member());
        ear.join(target);
        assert!(heard(&mut ear, target).await && member());
        ear.join(twin);
        ear.leave(target);
        assert!(heard(&mut ear, target).await && member());
        // The kernel's macvlan forgets a group only at the next change, so that silence proves nothing from here on.
        ear.leave(twin);
        assert!(!member());
        // Once too often is no harm.
        ear.leave(twin);
        ear.join(twin);
        assert!(heard(&mut ear, target).await && member());
        ip("link delete eth0");
        ear.join(target);
        ear.leave(target);
    });
}

#[test]
fn an_interface_that_goes_down_comes_back_and_disappears() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        ip("link set eth0 down");
        assert!(wire.ear.receive(NEAR).iter().all(|(mac, _)| *mac == FAR));
        let mut opened_while_down = Listener::open(wire.index).unwrap();
        ip("link set eth0 up");
        eventually("eth0 is up", || ip("link show eth0").contains("state UP")).await;
        let frame = probe(addr("192.0.2.99"), OTHER, None, None).unwrap();
        wire.tell(frame);
        wire.waits_for((OTHER, question("192.0.2.99", None))).await;
        std::mem::swap(&mut wire.ear, &mut opened_while_down);
        wire.waits_for((OTHER, question("192.0.2.99", None))).await;
        ip("link delete eth0");
        assert!(wire.heard().await.iter().all(|(mac, _)| *mac == FAR));
        assert!(timeout(Duration::from_millis(50), wire.ear.ready()).await.is_err(), "it spins");
        assert!(Listener::open(wire.index).is_err());
        assert!(Listener::open(u32::MAX).is_err());
    });
}

#[test]
fn a_storm_is_read_in_parts_and_nothing_of_it_is_lost() {
    in_namespace(|| async {
        let mut wire = Wire::new().await;
        let _ = wire.heard().await;
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
        while timeout(Duration::from_millis(100), wire.ear.ready()).await.is_ok() {
            counts.push(wire.ear.receive(NEAR).iter().filter(|(mac, _)| *mac == OTHER).count());
        }
        assert_eq!(counts.iter().sum::<usize>(), 700, "{counts:?}");
        assert!(counts.len() >= 3 && counts.iter().all(|count| *count <= 512), "{counts:?}");
    });
}
