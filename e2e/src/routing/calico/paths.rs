//! Where the files of a node's BIRD are.

use std::path::PathBuf;

use api_types::Family;

use crate::topology::{family::FamilyNames as _, host_id::HostId, layout::Layout};

/// The configuration file and the control socket of one BIRD.
pub(crate) fn bird_paths(layout: &Layout, host: HostId, family: Family) -> (PathBuf, PathBuf) {
    let file = |extension: &str| layout.host(host).join(format!("{}.{extension}", family.bird()));
    (file("conf"), file("ctl"))
}
