//! Which addresses in the kernel are taken over as ours at the start.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::{AddressAttributes, Family};

use crate::cluster::services::Services;
use crate::model::address::{AddressKey, KernelAddress};
use crate::model::observed::Observed;

/// What tells the addresses of an earlier run from those of others.
///
/// Where the kernel keeps marks, they tell, and the record has those that have lost theirs. Where it keeps none, the
/// record tells. An address that it does not have, because the run ended before it was saved or the file is gone, is
/// taken over if a Service has it and it is where only we would have put it: on the dummy interface, or elsewhere with a
/// lifetime that we give, while the Service says that this node announces it. DHCP gives lifetimes as well, so the
/// lifetime alone would not do.
#[derive(Debug, Clone, Copy)]
pub struct Adoption<'a> {
    /// Whether the kernel keeps marks.
    pub kernel_marks: bool,
    /// The record as it was read.
    pub recorded: &'a BTreeSet<AddressKey>,
    /// The kernel's state.
    pub observed: &'a Observed,
    /// The Services.
    pub services: &'a Services,
    /// This node.
    pub node: &'a str,
    /// The dummy interface, if it exists.
    pub dummy: Option<u32>,
    /// The attributes of local addresses.
    pub local: AddressAttributes,
    /// Seconds that addresses outlive the agent.
    pub grace: u32,
}

impl Adoption<'_> {
    /// The addresses that are ours whether they are marked or not.
    #[must_use]
    pub fn ours(&self) -> BTreeSet<AddressKey> {
        let ours =
            self.observed.addresses.iter().filter(|(key, found)| {
                self.recorded.contains(key) || !self.kernel_marks && self.is_left_by_us(key, found)
            });
        ours.map(|(key, _)| *key).collect()
    }

    fn is_left_by_us(&self, key: &AddressKey, found: &KernelAddress) -> bool {
        if self.dummy == Some(key.index) {
            return self.services.of(key.ip).next().is_some();
        }
        let lives_like_ours = match (found.valid, self.local.valid_lifetime) {
            (Some(valid), configured) => valid <= configured.unwrap_or(0).max(self.grace),
            (None, configured) => configured.is_none(),
        };
        lives_like_ours && self.is_announced_here(key.ip)
    }

    /// Whether the annotation of a Service says that this node announces the address.
    fn is_announced_here(&self, ip: IpAddr) -> bool {
        let texts = self.services.of(ip).filter_map(|service| service.announcing(Family::of(ip)));
        let names_this_node = |entry: &str| {
            let node = entry.split_once(',').map(|(node, _)| node);
            let address = entry.rsplit_once(',').and_then(|(_, address)| address.parse().ok());
            node == Some(self.node) && address == Some(ip)
        };
        texts.flat_map(str::split_whitespace).any(names_this_node)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cluster::service::ServiceView;
    use crate::cluster::service::testing::view;
    use crate::model::observed::Change;
    use crate::model::testing::{key, node, plain};

    fn lasting(seconds: u32) -> KernelAddress {
        KernelAddress { valid: Some(seconds), ..plain() }
    }

    /// Whether an address that carries no mark is taken over. The Service has it, and names node `me`.
    fn is_adopted(kernel_marks: bool, recorded: &[&str], index: u32, found: KernelAddress, user: ServiceView) -> bool {
        let mut services = Services::default();
        services.apply(user);
        let mut observed = node();
        observed.apply(Change::Address(key(index, "192.168.50.200/24"), found));
        let adoption = Adoption {
            kernel_marks,
            recorded: &recorded.iter().map(|cidr| key(index, cidr)).collect(),
            observed: &observed,
            services: &services,
            node: "me",
            dummy: Some(3),
            local: AddressAttributes::LOCAL,
            grace: 180,
        };
        adoption.ours().contains(&key(index, "192.168.50.200/24"))
    }

    fn announced_by(node: &str) -> ServiceView {
        ServiceView {
            announcing: [Some(format!("{node},eth0,192.168.50.200").into()), None],
            ..view("web", &["192.168.50.200"], None)
        }
    }

    #[rstest]
    #[case::recorded(true, &["192.168.50.200/24"], 2, plain(), announced_by("other"), true)]
    #[case::marks_and_no_record(true, &[], 2, lasting(300), announced_by("me"), false)]
    #[case::no_marks_and_recorded(false, &["192.168.50.200/24"], 2, plain(), announced_by("other"), true)]
    #[case::left_by_us(false, &[], 2, lasting(300), announced_by("me"), true)]
    #[case::of_dhcp(false, &[], 2, lasting(300), announced_by("other"), false)]
    #[case::of_dhcp_for_long(false, &[], 2, lasting(3600), announced_by("me"), false)]
    #[case::by_an_administrator(false, &[], 2, plain(), announced_by("me"), false)]
    #[case::on_the_dummy_interface(false, &[], 3, plain(), announced_by("other"), true)]
    #[case::of_no_service(false, &[], 3, plain(), view("web", &["192.168.50.201"], None), false)]
    fn what_an_earlier_run_left_is_told_from_what_others_have(
        #[case] kernel_marks: bool,
        #[case] recorded: &[&str],
        #[case] index: u32,
        #[case] found: KernelAddress,
        #[case] user: ServiceView,
        #[case] expected: bool,
    ) {
        assert_eq!(is_adopted(kernel_marks, recorded, index, found, user), expected);
    }
}
