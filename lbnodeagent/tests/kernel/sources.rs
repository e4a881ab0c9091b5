//! Which source the kernel gives to the node's own packets.

use crate::node::{Node, REMOTE, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{add_dummy, eventually, in_namespace, ip, ip_batch};

/// As with BGP without addresses on links: the interface of the default route has none, and the one that has the node's
/// address was made after `kube-lb0`.
#[test]
fn case_87_a_service_address_that_the_kernel_takes_as_source_is_reported() {
    in_namespace(|| async {
        add_dummy("kube-lb0");
        ip_batch(
            "link add eth0 type veth peer name far\n\
             link set far up\n\
             link set eth0 up\n\
             route add default dev eth0\n\
             link add own type veth peer name other\n\
             link set own up\n\
             address add 192.168.50.11/32 dev own\n\
             address add fd00:50::11/128 dev own nodad\n",
        );
        ip("-6 route add default dev eth0");
        let mut node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        let mut texts = Vec::new();
        eventually("an event", || {
            let events = node.events();
            texts.extend(events.into_iter().filter(|(reason, _)| *reason == "SourceAddress").map(|(_, text)| text));
            !texts.is_empty()
        })
        .await;
        assert!(texts[0].contains(REMOTE[0]) && texts[0].contains("`src 192.168.50.11`"), "{texts:?}");
        assert!(ip("route get 240.0.0.1").contains(&format!("src {}", REMOTE[0])));
        // What the event says mends it.
        ip("route replace default dev eth0 src 192.168.50.11");
        assert!(ip("route get 240.0.0.1").contains("src 192.168.50.11"));
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        node.forget_events();
        ip("route replace default dev eth0");
        node.wait_for_event(&["SourceAddress"]).await;
        // IPv6 addresses of Services are deprecated.
        assert!(ip("-6 route get 2000::1").contains("src fd00:50::11"));
        // Made again, the dummy interface is the last one.
        ip("link del kube-lb0");
        add_dummy("kube-lb0");
        eventually("announced again", remote_is_there).await;
        assert!(ip("route get 240.0.0.1").contains("src 192.168.50.11"));
    });
}
