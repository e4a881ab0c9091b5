//! What an agent reports of the routers that its node speaks BGP with: after how long each would notice its death.

use std::net::IpAddr;

use k8s_openapi::api::coordination::v1::Lease;
use serde::{Deserialize, Serialize};

use super::instance::said;

/// Annotation: the routers as JSON ([`RouterReport`]), and the agent's instance: `JSON INSTANCE`. It counts only while the
/// instance is the Lease's present one: a release that does not know the annotation leaves it standing.
pub const ROUTERS: &str = "purelb.io/routers";
/// How many routers of one Lease are used; the rest is ignored.
pub const MAX_ROUTERS: usize = 32;
/// How many characters of a reason are used.
const MAX_REASON: usize = 120;
/// The longest name of an interface.
const MAX_INTERFACE: usize = 15;

/// A router of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouterReport {
    /// Its address, with its interface if the address has one: `192.0.2.1`, `fe80::1%eth0`.
    pub router: String,
    /// When it would notice the death of the node.
    #[serde(flatten)]
    pub notices: Notices,
}

/// When a router would notice the death of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Notices {
    /// When the hold time of its BGP session ends, because of this: a sentence without a full stop.
    AfterHoldTime(String),
    /// After so many milliseconds.
    AfterMilliseconds(u64),
}

/// The routers of the node of the Lease, in their order; none if it reports none or cannot be read.
#[must_use]
pub fn routers(lease: &Lease) -> Vec<RouterReport> {
    let read = said(lease, ROUTERS).and_then(|json| serde_json::from_str::<Vec<RouterReport>>(json).ok());
    let mut routers = read.unwrap_or_default();
    routers.retain(|report| names_a_router(&report.router));
    routers.sort_unstable();
    routers.dedup_by(|one, other| one.router == other.router);
    routers.truncate(MAX_ROUTERS);
    for report in &mut routers {
        if let Notices::AfterHoldTime(why) = &mut report.notices
            && let Some((end, _)) = why.char_indices().nth(MAX_REASON)
        {
            why.truncate(end);
        }
    }
    routers
}

/// The value of [`ROUTERS`] of the agent with this instance; nothing if it has none to report.
#[must_use]
pub fn routers_value(routers: &[RouterReport], instance: &str) -> Option<String> {
    let first = routers.get(..MAX_ROUTERS).unwrap_or(routers);
    let json = serde_json::to_string(first).ok().filter(|_| !first.is_empty())?;
    Some(format!("{json} {instance}"))
}

fn names_a_router(text: &str) -> bool {
    let (address, interface) = text.split_once('%').unwrap_or((text, "-"));
    let fine = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'%';
    address.parse::<IpAddr>().is_ok() && (1..=MAX_INTERFACE).contains(&interface.len()) && interface.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::INSTANCE;

    fn lease(value: &str, instance: &str) -> Lease {
        let mut lease = Lease::default();
        let annotations = [(ROUTERS, value), (INSTANCE, instance)];
        lease.metadata.annotations = Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        lease
    }

    fn late(router: &str, why: &str) -> RouterReport {
        RouterReport { router: router.to_owned(), notices: Notices::AfterHoldTime(why.to_owned()) }
    }

    #[test]
    fn what_is_written_is_read_of_the_present_agent_only() {
        let fast = RouterReport { router: "192.0.2.1".to_owned(), notices: Notices::AfterMilliseconds(900) };
        let written = vec![fast, late("fe80::1%eth0", "it does not speak BFD with the node")];
        let value = routers_value(&written, "pod-1").unwrap();
        assert_eq!(
            value,
            r#"[{"router":"192.0.2.1","afterMilliseconds":900},{"router":"fe80::1%eth0","afterHoldTime":"it does not speak BFD with the node"}] pod-1"#
        );
        assert_eq!(routers(&lease(&value, "pod-1")), written);
        assert!(routers(&lease(&value, "pod-2")).is_empty());
        assert_eq!(routers_value(&[], "pod-1"), None);
    }

    #[test]
    fn nonsense_is_left_out_and_the_rest_is_bounded() {
        for nonsense in ["", "x", "[] x", "{} pod-1", r#"[{"router":"192.0.2.1"}] pod-1"#] {
            assert!(routers(&lease(nonsense, "pod-1")).is_empty(), "{nonsense}");
        }
        let wrong = ["", "router", "192.0.2.1%", "fe80::1%a/b", "fe80::1%sixteen-letters-", "fe80::1%a b"];
        let wrong: Vec<_> = wrong.iter().map(|router| late(router, "")).collect();
        assert!(routers(&lease(&routers_value(&wrong, "pod-1").unwrap(), "pod-1")).is_empty());
        let many: Vec<_> = (0..100).map(|n| late(&format!("192.0.2.{n}"), &"é".repeat(500))).collect();
        let json = format!("{} pod-1", serde_json::to_string(&many).unwrap());
        let read = routers(&lease(&json, "pod-1"));
        assert_eq!(read.len(), MAX_ROUTERS);
        assert_eq!(read[0].notices, Notices::AfterHoldTime("é".repeat(MAX_REASON)));
    }
}
