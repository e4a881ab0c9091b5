//! Stands in for calico-node's control of BIRD: what `IPPool`, `BGPConfiguration` and `BGPPeer` objects say decides what
//! each node's BIRD exports.

mod bird;
mod filter;
mod objects;
mod watch;

use std::path::PathBuf;

pub use bird::{Neighborhood, bird_config};
pub use objects::{BgpConfiguration, BgpPeer, Calico, Community, IpPool, NodeAddresses, PrefixAdvertisement};
pub use watch::run;

use api_types::Family;

use crate::{family::Words as _, host_id::HostId, layout::Layout};

/// The configuration file and the control socket of one BIRD.
pub(crate) fn bird_paths(layout: &Layout, host: HostId, family: Family) -> (PathBuf, PathBuf) {
    let file = |extension: &str| layout.host(host).join(format!("{}.{extension}", family.bird()));
    (file("conf"), file("ctl"))
}
