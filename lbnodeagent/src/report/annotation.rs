//! The text of the annotations `purelb.io/announcing-IPv4` and `-IPv6` (specification, announcing.md 9): entries
//! `node,interface,ip`, separated by blanks, one for each IP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::cluster::service::AnnouncingEntry;

/// The entries of an annotation: which node announces each address, and on which interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots(BTreeMap<IpAddr, (String, String)>);

impl Slots {
    /// Reads an annotation. Texts that are no entries are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let entries = text.split_whitespace().filter_map(AnnouncingEntry::parse);
        Self(entries.map(|entry| (entry.ip, (entry.node.to_owned(), entry.interface.to_owned()))).collect())
    }

    /// The text, sorted by IP. Nothing if there is no entry, which deletes the annotation.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let entries: Vec<String> =
            self.0.iter().map(|(ip, (node, interface))| format!("{node},{interface},{ip}")).collect();
        (!entries.is_empty()).then(|| entries.join(" "))
    }
}

/// This node's role for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// This node announces the address on this interface.
    Announces(String),
    /// Another node announces it, or none does. An entry of this node is left for the next owner to replace.
    NotOwner,
    /// This node cannot announce it. An entry of this node is removed.
    CannotAnnounce,
}

impl Role {
    /// The role for a Service that was not given the address: this node adds no entry for it.
    #[must_use]
    pub fn of_foreign_address(self) -> Self {
        if matches!(self, Self::Announces(_)) { Self::NotOwner } else { self }
    }
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The new text; nothing to delete the annotation.
    pub text: Option<String>,
    /// The nodes whose entries are replaced.
    pub replaced: BTreeSet<String>,
}

/// Updates an annotation for this node; returns nothing if it is up to date.
///
/// `roles` contains every address of this family in the Service's status. Entries of other addresses are dropped.
#[must_use]
pub fn edit(present: Option<&str>, node: &str, roles: &BTreeMap<IpAddr, Role>) -> Option<Edit> {
    let before = Slots::parse(present.unwrap_or_default());
    let mut slots = before.clone();
    let mut replaced = BTreeSet::new();
    let mut concerned = false;
    for (ip, role) in roles {
        let own = before.0.get(ip).is_some_and(|(owner, _)| owner == node);
        match role {
            Role::Announces(interface) => {
                concerned = true;
                let old = slots.0.insert(*ip, (node.to_owned(), interface.clone()));
                replaced.extend(old.map(|(owner, _)| owner).filter(|owner| owner != node));
            }
            Role::CannotAnnounce if own => {
                concerned = true;
                slots.0.remove(ip);
            }
            Role::NotOwner | Role::CannotAnnounce => {}
        }
    }
    // An entry of an address that the Service does not have any more is dropped by any node that writes, and by
    // the node that it names.
    let stale = |ip: &IpAddr| !roles.contains_key(ip);
    concerned |= before.0.iter().any(|(ip, (owner, _))| stale(ip) && owner == node);
    slots.0.retain(|ip, _| !stale(ip));
    let text = slots.text();
    (concerned && text.as_deref() != present).then_some(Edit { text, replaced })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn reads_leniently_and_writes_canonically() {
        let text = "kube-lb0 b,eth0,192.0.2.10  n,eth0 ,eth0,192.0.2.1 a,eth,1,192.0.2.9 c,eth0,fe80::1%2";
        assert_eq!(Slots::parse(text).text().unwrap(), "a,eth,1,192.0.2.9 b,eth0,192.0.2.10");
        assert_eq!(Slots::parse("").text(), None);
    }

    #[rstest]
    // (present, role of 192.0.2.1, new text; "-" for no write, "" for deletion)
    #[case(None, Some(Role::Announces("eth0".into())), "me,eth0,192.0.2.1")]
    #[case(Some("me,eth0,192.0.2.1"), Some(Role::Announces("eth0".into())), "-")]
    #[case(Some("other,eth0,192.0.2.1"), Some(Role::Announces("eth0".into())), "me,eth0,192.0.2.1")]
    #[case(Some("other,eth0,192.0.2.1"), Some(Role::NotOwner), "-")]
    #[case(Some("me,eth0,192.0.2.1"), Some(Role::NotOwner), "-")]
    #[case(Some("me,eth0,192.0.2.1"), Some(Role::CannotAnnounce), "")]
    #[case(Some("other,eth0,192.0.2.1"), Some(Role::CannotAnnounce), "-")]
    #[case(Some("me,eth0,192.0.2.7"), Some(Role::NotOwner), "")]
    #[case(Some("other,eth0,192.0.2.7"), Some(Role::NotOwner), "-")]
    #[case(Some("kube-lb0"), Some(Role::Announces("eth0".into())), "me,eth0,192.0.2.1")]
    fn edits(#[case] present: Option<&str>, #[case] role: Option<Role>, #[case] expected: &str) {
        let roles = role.into_iter().map(|role| ("192.0.2.1".parse().unwrap(), role)).collect();
        let text = edit(present, "me", &roles).map_or("-".to_owned(), |edit| edit.text.unwrap_or_default());
        assert_eq!(text, expected);
    }

    #[test]
    fn case_66_nothing_is_added_for_an_address_that_was_copied_from_another_service() {
        let edit = |present, role: Role| {
            let roles = [("192.0.2.1".parse().unwrap(), role.of_foreign_address())];
            edit(present, "me", &roles.into()).map(|edit| edit.text)
        };
        assert_eq!(edit(None, Role::Announces("eth0".into())), None);
        assert_eq!(edit(Some("other,eth0,192.0.2.1"), Role::Announces("eth0".into())), None);
        assert_eq!(edit(Some("me,eth0,192.0.2.1"), Role::CannotAnnounce), Some(None));
    }

    #[test]
    fn other_addresses_keep_their_entries_and_replaced_nodes_are_named() {
        let roles = [
            ("192.0.2.1".parse().unwrap(), Role::Announces("eth0".into())),
            ("192.0.2.2".parse().unwrap(), Role::NotOwner),
        ];
        let edit = edit(Some("b,eth1,192.0.2.1 c,eth0,192.0.2.2 d,eth0,192.0.2.3"), "me", &roles.into()).unwrap();
        assert_eq!(edit.text.unwrap(), "me,eth0,192.0.2.1 c,eth0,192.0.2.2");
        assert_eq!(edit.replaced, ["b".to_owned()].into());
    }
}
