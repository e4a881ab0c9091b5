//! What is known of the cluster besides Services and groups: members, Nodes, external IPs.

use std::collections::BTreeSet;

use super::external_ips::ExternalIps;
use super::members::Members;
use super::nodes::Nodes;
use super::reserved_reports::ReservedReports;
use crate::addresses::ReservedFor;

/// The parts of the state from which reserved addresses come.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) members: Members,
    pub(super) nodes: Nodes,
    pub(super) external_ips: ExternalIps,
    /// The subnets whose own addresses are reserved, with the addresses' roles.
    pub(super) subnets: BTreeSet<ReservedFor>,
    pub(super) reports: ReservedReports,
}
