//! What the specifications of all hosts depend on.

use std::path::Path;

use crate::topology::layout::Layout;

/// A cluster's paths, the directory of its programs, and its size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterShape<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) programs: &'a Path,
    pub(crate) nodes: u8,
}
