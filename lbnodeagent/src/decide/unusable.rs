//! Interfaces that the configuration names and on which no local address can be announced, and those that answer for each
//! other.

use std::collections::BTreeMap;

use api_types::{AgentConfig, InterfaceChoice};
use ipnetwork::IpNetwork;

use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::model::observed::Observed;

/// How many interfaces a text names.
const MAX_NAMES: usize = 16;

/// What is wrong with the selection of interfaces: a text for each cause.
#[must_use]
pub fn unusable(config: &AgentConfig, observed: &Observed, selection: &Selection) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let exists = |matches: &dyn Fn(&str) -> bool| observed.links.values().any(|link| link.names().any(matches));
    if let InterfaceChoice::Matching(pattern) = &config.local_interface
        && !exists(&|name| pattern.is_match(name))
    {
        let text = format!("localInterface {:?} matches no interface: {}", pattern.as_str(), names(observed));
        found.insert("localInterface".to_owned(), text);
    }
    for wanted in config.interfaces.iter().filter(|wanted| !exists(&|name| name == wanted.as_str())) {
        let text = format!("interfaces lists {wanted:?}, which does not exist: {}", names(observed));
        found.insert(format!("interfaces {wanted}"), text);
    }
    for selected in selection.iter() {
        if observed.links.get(&selected.index).is_some_and(|link| link.mac.is_none_or(|mac| mac == [0; 6])) {
            let name = &selected.name;
            let text = format!(
                "interface {name} has no Ethernet address, so no local address can be announced on it: select another one in LBNodeAgent"
            );
            found.insert(format!("address {name}"), text);
        }
    }
    found
}

/// Another interface in the IPv4 network of a selected one. Linux answers ARP on it for the addresses of the selected one
/// too, unless a sysctl forbids it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// The selected interface.
    pub selected: String,
    /// The other one.
    pub other: String,
    /// The network of both.
    pub network: IpNetwork,
}

impl Twin {
    /// What follows, and what to do.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { selected, other, network } = self;
        // As sysctl(8) writes an interface with a dot in its name.
        let path = other.replace('.', "/");
        format!(
            "interfaces {selected} and {other} are both in {network}, and the kernel answers ARP on {other} for addresses of {selected} too, so what is sent to them may arrive on {other}: set the sysctl net.ipv4.conf.{path}.arp_ignore to 1 on this node, or take {other} out of this network"
        )
    }
}

/// The interfaces that are in the IPv4 network of a selected one.
#[must_use]
pub fn twins(observed: &Observed, selection: &Selection, connected: &Connected) -> Vec<Twin> {
    let mut found: Vec<Twin> = Vec::new();
    for selected in selection.iter() {
        for network in selected.networks.iter().copied().filter(IpNetwork::is_ipv4) {
            let Some((_, index)) = connected.overlapping(network, selected.index) else { continue };
            let Some(other) = observed.links.get(&index).filter(|link| link.up && link.resolves) else { continue };
            // Of two that are selected, one text is enough.
            let is_known = |twin: &Twin| twin.selected == other.name && twin.other == selected.name;
            if !found.iter().any(is_known) {
                found.push(Twin { selected: selected.name.clone(), other: other.name.clone(), network });
            }
        }
    }
    found
}

/// The interfaces that could be selected.
fn names(observed: &Observed) -> String {
    let mut names: Vec<&str> =
        observed.links.values().filter(|link| !link.loopback && link.resolves).map(|link| link.name.as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there are {}{rest}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::decide::default_interfaces::DefaultInterfaces;
    use crate::model::ours::Ours;
    use crate::model::testing::{key, node, plain};

    #[test]
    fn an_interface_in_the_network_of_a_selected_one_is_named() {
        let mut observed = node();
        let recorded = BTreeSet::new();
        let ours = Ours::new(&recorded, true);
        let named = |observed: &Observed, spec: serde_json::Value| -> Vec<(String, String)> {
            let config = AgentConfig::new(&serde_json::from_value(spec).unwrap()).unwrap();
            let selection = Selection::new(&config, observed, ours, &[], &DefaultInterfaces::default());
            let twins = twins(observed, &selection, &Connected::new(observed, ours));
            twins.into_iter().map(|twin| (twin.selected, twin.other)).collect()
        };
        let both = || json!({"interfaces": ["eth0", "eth1"]});
        assert_eq!(named(&observed, both()), []);
        let network = observed.addresses.keys().find(|key| key.index == 2 && key.ip.is_ipv4()).unwrap().prefix_len;
        observed.addresses.insert(key(4, &format!("192.168.50.61/{network}")), plain());
        let pair = ("eth0".to_owned(), "eth1".to_owned());
        assert_eq!(named(&observed, both()), std::slice::from_ref(&pair));
        assert_eq!(named(&observed, json!({"localInterface": "eth0"})), [pair]);
        observed.links.get_mut(&4).unwrap().up = false;
        assert_eq!(named(&observed, json!({"localInterface": "eth0"})), []);
    }

    fn found(spec: serde_json::Value, observed: &Observed) -> Vec<String> {
        let config = AgentConfig::new(&serde_json::from_value(spec).unwrap()).unwrap();
        let selection =
            Selection::new(&config, observed, Ours::new(&BTreeSet::new(), true), &[], &DefaultInterfaces::default());
        unusable(&config, observed, &selection).into_values().collect()
    }

    #[test]
    fn case_63_a_selection_that_matches_nothing_is_told_with_the_names_there_are() {
        let mut observed = node();
        assert_eq!(
            found(json!({"localInterface": "^ens", "interfaces": ["eth1", "bond0"]}), &observed),
            [
                "interfaces lists \"bond0\", which does not exist: there are eth0, eth1",
                "localInterface \"^ens\" matches no interface: there are eth0, eth1",
            ]
        );
        assert!(found(json!({}), &observed).is_empty());
        observed.links.get_mut(&4).unwrap().altnames = vec!["ens7".into(), "bond0".into()];
        assert!(found(json!({"localInterface": "^ens", "interfaces": ["bond0"]}), &observed).is_empty());
    }

    #[test]
    fn a_selected_interface_needs_an_ethernet_address() {
        let mut observed = node();
        observed.links.get_mut(&4).unwrap().mac = None;
        let texts = found(json!({"localInterface": "eth1"}), &observed);
        assert!(texts.len() == 1 && texts[0].starts_with("interface eth1 has no Ethernet address"), "{texts:?}");
    }
}
