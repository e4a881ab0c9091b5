//! What calico-node does with BIRD: `IPPool`, `BGPConfiguration` and `BGPPeer` objects decide what each node exports.
//!
//! - `objects`: the fields of these objects that matter for BGP.
//! - `filter`: the export filter that follows from them.
//! - `bird`: the whole configuration of one node's BIRD.
//! - `watch`: watches the objects, writes the configurations, has BIRD read them.
//! - `paths`: the files of each BIRD.

mod bird;
mod filter;
mod objects;
pub(crate) mod paths;
mod watch;

pub use bird::{Neighborhood, bird_config};
pub use objects::{BgpConfiguration, BgpPeer, Calico, Community, IpPool, NodeAddresses, PrefixAdvertisement};
pub use watch::run;
