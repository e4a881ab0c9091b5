//! What an agent reports in its Lease: addresses that nobody may have, addresses that it refuses, addresses that its
//! kernel has from us while nothing on their Service says so, and which release it is.

use std::net::IpAddr;

use k8s_openapi::api::coordination::v1::Lease;
use serde::{Deserialize, Serialize};

use super::instance::{said, said_by};
use super::list::{entries, join};
use crate::reserved::names_a_host;

/// Annotation: every address that the node's kernel has and that is not from us, joined by commas.
pub const OWN_ADDRESSES: &str = "purelb.io/own-addresses";
/// Annotation: the gateways of the node's routes, joined by commas.
pub const GATEWAYS: &str = "purelb.io/gateways";
/// Annotation: one page of what the agent refuses and holds, as JSON ([`Report`]).
pub const REPORT: &str = "purelb.io/report";
/// Annotation: the version of the wire that an agent speaks and its instance, `VERSION INSTANCE`. It counts only while
/// the instance is the Lease's present one: a release that does not know the annotation leaves it standing.
pub const WIRE_VERSION: &str = "purelb.io/wire-version";
/// Annotation of the leader's Lease: the version of the marks that it writes and its identity, `VERSION IDENTITY`. It
/// counts only while the identity is the Lease's present `holderIdentity`.
pub const ALLOCATOR_VERSION: &str = "purelb.io/allocator-version";

/// Annotation of the leader's Lease: its identity and the addresses that it may be about to give to Services that do not
/// name them, `IDENTITY 192.0.2.1-192.0.2.64,2001:db8::`; `*` for any. It counts only while the identity is the Lease's
/// present `holderIdentity`.
pub const MAY_GIVE: &str = "purelb.io/may-give";

/// The first version of the allocator's marks that has `allocated-addresses`.
pub const MARKS_WITH_ADDRESSES: u16 = 2;

/// How many own addresses of one Lease are used; the rest is ignored.
pub const MAX_OWN_ADDRESSES: usize = 256;
/// How many gateways of one Lease are used; the rest is ignored.
pub const MAX_GATEWAYS: usize = 16;
/// How many entries one page of a report has.
pub const MAX_REPORT: usize = 64;
/// How many characters of a reason are used.
const MAX_REASON: usize = 200;

/// An address that the agent does not announce although its Service should have it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// Why, as a sentence without a full stop.
    pub why: String,
}

/// An address that the agent's kernel has from us while nothing on its Service says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The address.
    pub address: IpAddr,
    /// The UID of the Service for which it was put there.
    pub uid: String,
}

/// One page of what an agent refuses and holds: [`MAX_REPORT`] entries together. Longer lists turn, one page at each
/// renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Report {
    /// Which page this is, from 0.
    pub page: usize,
    /// How many pages there are, at least 1 unless both lists are empty.
    pub pages: usize,
    /// Addresses that it refuses.
    pub refused: Vec<Refused>,
    /// Addresses that it holds.
    pub held: Vec<Held>,
}

impl Report {
    /// Whether there is nothing to report.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.held.is_empty()
    }

    /// The value of [`REPORT`]; nothing if there is nothing to report.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        serde_json::to_string(self).ok()
    }
}

/// The node's own addresses.
#[must_use]
pub fn own_addresses(lease: &Lease) -> Vec<IpAddr> {
    hosts(lease, OWN_ADDRESSES, MAX_OWN_ADDRESSES)
}

/// The value of [`OWN_ADDRESSES`]. Of more than are read the first are kept, so the caller puts first what matters most;
/// the value is sorted, so that it changes only when its content does.
#[must_use]
pub fn own_addresses_value(addresses: impl IntoIterator<Item = IpAddr>) -> String {
    hosts_value(addresses, MAX_OWN_ADDRESSES)
}

/// The gateways of the node's routes.
#[must_use]
pub fn gateways(lease: &Lease) -> Vec<IpAddr> {
    hosts(lease, GATEWAYS, MAX_GATEWAYS)
}

/// The value of [`GATEWAYS`]: as [`own_addresses_value`].
#[must_use]
pub fn gateways_value(addresses: impl IntoIterator<Item = IpAddr>) -> String {
    hosts_value(addresses, MAX_GATEWAYS)
}

/// The page of the agent's report; an empty one if there is none or it cannot be read.
#[must_use]
pub fn report(lease: &Lease) -> Report {
    let text = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REPORT));
    let mut report: Report = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    report.refused.retain(|refused| names_a_host(refused.address));
    report.held.retain(|held| names_a_host(held.address));
    report.refused.truncate(MAX_REPORT);
    report.held.truncate(MAX_REPORT);
    for refused in &mut report.refused {
        if let Some((end, _)) = refused.why.char_indices().nth(MAX_REASON) {
            refused.why.truncate(end);
        }
    }
    report
}

/// The version of the wire that the Lease's present agent speaks; 1 if it does not say.
#[must_use]
pub fn wire_version(lease: &Lease) -> u16 {
    version(said(lease, WIRE_VERSION)).unwrap_or(1)
}

/// The version of the marks that the present leader writes; 1 if it does not say. `lease` is the leader's.
#[must_use]
pub fn allocator_version(lease: &Lease) -> u16 {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
    version(holder.and_then(|holder| said_by(lease, ALLOCATOR_VERSION, holder))).unwrap_or(1)
}

/// The value of [`WIRE_VERSION`] or [`ALLOCATOR_VERSION`].
#[must_use]
pub fn version_value(version: u16, identity: &str) -> String {
    format!("{version} {identity}")
}

fn version(said: Option<&str>) -> Option<u16> {
    said?.parse().ok()
}

fn hosts(lease: &Lease, annotation: &str, most: usize) -> Vec<IpAddr> {
    let read = entries(lease, annotation).filter_map(|text| text.parse().ok());
    read.filter(|address| names_a_host(*address)).take(most).collect()
}

fn hosts_value(addresses: impl IntoIterator<Item = IpAddr>, most: usize) -> String {
    let mut kept: Vec<IpAddr> = Vec::new();
    for address in addresses.into_iter().filter(|address| names_a_host(*address)) {
        if kept.len() < most && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept.sort_unstable();
    join(kept.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::*;
    use crate::lease::INSTANCE;

    fn lease(annotations: &[(&str, &str)]) -> Lease {
        let mut lease = Lease::default();
        let owned = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        lease.metadata.annotations = Some(owned.collect());
        lease
    }

    #[test]
    fn own_addresses_are_hosts_and_bounded() {
        let value = own_addresses_value((0..1000_u32).map(|n| IpAddr::from((0x0a00_0000_u32 + n).to_be_bytes())));
        assert_eq!(own_addresses(&lease(&[(OWN_ADDRESSES, &value)])).len(), MAX_OWN_ADDRESSES);
        let read = own_addresses(&lease(&[(OWN_ADDRESSES, "127.0.0.1, 10.0.0.1,fe80::1,nonsense,0.0.0.0")]));
        assert_eq!(read, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_version_counts_for_the_present_process_only() {
        let one = lease(&[(INSTANCE, "pod-1"), (WIRE_VERSION, "2 pod-1")]);
        assert_eq!(wire_version(&one), 2);
        let rolled_back = lease(&[(INSTANCE, "pod-2"), (WIRE_VERSION, "2 pod-1")]);
        assert_eq!(wire_version(&rolled_back), 1);
        let mut leader = lease(&[(ALLOCATOR_VERSION, "2 a")]);
        leader.spec = Some(LeaseSpec { holder_identity: Some("a".to_owned()), ..LeaseSpec::default() });
        assert_eq!(allocator_version(&leader), MARKS_WITH_ADDRESSES);
        leader.spec = Some(LeaseSpec { holder_identity: Some("b".to_owned()), ..LeaseSpec::default() });
        assert_eq!(allocator_version(&leader), 1);
    }

    #[test]
    fn a_report_survives_the_annotation_and_nonsense_is_empty() {
        let written = Report {
            page: 0,
            pages: 1,
            refused: vec![Refused { address: "192.0.2.1".parse().unwrap(), why: "node2 has it".to_owned() }],
            held: vec![Held { address: "192.0.2.2".parse().unwrap(), uid: "1".to_owned() }],
        };
        assert_eq!(report(&lease(&[(REPORT, &written.value().unwrap())])), written);
        assert_eq!(Report::default().value(), None);
        for nonsense in ["", "[]", "{\"refused\": 1}", "{\"refused\": [{\"address\": \"x\"}]}"] {
            assert!(report(&lease(&[(REPORT, nonsense)])).is_empty(), "{nonsense}");
        }
    }
}
