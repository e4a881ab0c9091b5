//! Interfaces that the configuration names and on which no local address can be announced.

use std::collections::BTreeMap;

use api_types::{AgentConfig, InterfaceChoice};

use crate::decide::interfaces::Selection;
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
    use crate::model::testing::node;

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
