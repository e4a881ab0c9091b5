//! States of the kernel for tests.

use api_types::Family;
use ipnetwork::IpNetwork;
use runtime::BootTime;

use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::link::{DefaultRoute, Link, OnLinkRoute};
use crate::model::observed::{Change, Observed};

/// An address as an administrator adds it.
pub fn plain() -> KernelAddress {
    KernelAddress {
        mark: None,
        valid: None,
        preferred: None,
        seen: BootTime::default(),
        secondary: false,
        no_prefix_route: false,
        usable: true,
        scope: 0,
        broadcast: None,
        label: None,
    }
}

/// An address as we add it for ever.
pub fn ours() -> KernelAddress {
    KernelAddress { mark: Some(MARK), ..plain() }
}

/// A key from `192.0.2.1/24`.
pub fn key(index: u32, cidr: &str) -> AddressKey {
    let network: IpNetwork = cidr.parse().unwrap();
    AddressKey { ip: network.ip(), index, prefix_len: network.prefix() }
}

/// An on-link route; `by_kernel` says that the kernel made it.
pub fn on_link(index: u32, network: &str, by_kernel: bool) -> OnLinkRoute {
    OnLinkRoute { network: network.parse().unwrap(), index, metric: 256, source: None, by_kernel }
}

/// A node: `lo` is 1, `eth0` is 2 with `192.168.50.11/24` and `fd00:50::11/64`, `kube-lb0` is 3,
/// `eth1` is 4 with `10.1.0.11/24`; the default routes use `eth0`.
pub fn node() -> Observed {
    let link = |name: &str| Link {
        name: name.to_owned(),
        altnames: Vec::new(),
        up: true,
        carrier: true,
        bond: None,
        loopback: name == "lo",
        resolves: name != "kube-lb0",
        mac: Some([2, 0, 0, 0, 0, 1]),
    };
    let mut observed = Observed::default();
    for (index, name) in [(1, "lo"), (2, "eth0"), (3, "kube-lb0"), (4, "eth1")] {
        observed.apply(Change::Link(index, link(name)));
    }
    for (index, cidr) in [
        (1, "127.0.0.1/8"),
        (1, "::1/128"),
        (2, "192.168.50.11/24"),
        (2, "fd00:50::11/64"),
        (2, "fe80::1/64"),
        (4, "10.1.0.11/24"),
    ] {
        observed.apply(Change::Address(key(index, cidr), plain()));
    }
    for family in Family::ALL {
        observed.apply(Change::Route(DefaultRoute {
            family,
            metric: 100,
            table: 254,
            index: 2,
            gateway: None,
            source: None,
        }));
    }
    observed
}
