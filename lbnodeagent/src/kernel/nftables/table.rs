//! Our table: its sets, chains and rules, and the messages for a change.
//!
//! ```text
//! table inet purelb {
//!     set vips4 { type ipv4_addr; timeout 30s; }
//!     set young4 { type ipv4_addr; timeout 8s; }
//!     set ports4 { type ipv4_addr . inet_proto . inet_service; }
//!     set protocols { type inet_proto; elements = { tcp, udp, sctp } }
//!     chain prerouting {
//!         type filter hook prerouting priority dstnat - 10;
//!         ip daddr @vips4 meta l4proto @protocols fib daddr type local ct state invalid drop
//!         ip daddr @vips4 meta l4proto @protocols fib daddr type local ct state new,untracked
//!             ip daddr . meta l4proto . th dport != @ports4 drop
//!     }
//!     chain input {
//!         type filter hook input priority filter + 10;
//!         ip daddr @vips4 meta l4proto @protocols fib daddr type local ct direction original ct status ! dnat drop
//!     }
//!     chain output { # as input, with hook output }
//!     chain early-input {
//!         type filter hook input priority filter - 10;
//!         ip daddr @young4 meta l4proto @protocols fib daddr type local ct direction original ct status ! dnat drop
//!     }
//!     chain early-output { # as early-input, with hook output }
//! }
//! ```
//!
//! and the same for IPv6.
//!
//! - *prerouting* comes before NAT, because host ports look like ports of Services after it. A packet that the kernel
//!   cannot assign to a connection is dropped: the node's own TCP would reset the client's connection.
//! - *input* comes after the rules with which kube-proxy refuses connections to Services without endpoints. A packet that
//!   kube-proxy has not translated is one for which it has no rule yet.
//! - *output* is the same for the node's own clients. It comes before the kernel remembers the connection: if it did, it
//!   would not translate the repetition either.
//!
//! - *early-input* and *early-output* come before the rules with which kube-proxy refuses, for addresses that are new:
//!   kube-proxy may hear of a Service before it hears of its endpoints.
//!
//! Packets to addresses that another node has are left to that node, so a mistaken address does not cut this node off it.
//!
//! Without the addresses the other sets mean nothing, so only addresses have a timeout. They are renewed by emptying and
//! filling their set in one batch: before Linux 6.12, adding an element again does not extend its time.

use std::time::Duration;

use api_types::Family;
use nix::libc::{
    NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT, NF_INET_PRE_ROUTING, NFPROTO_INET, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWTABLE, NFT_SET_TIMEOUT, NLM_F_APPEND, NLM_F_CREATE,
};

use super::elements::{add, address, flush, opening, remove};
use super::message::Message;
use super::rules::{INVALID, NEW_OR_UNTRACKED, Rule};
use crate::model::guard::{Edit, GuardChange, Openings, Rules};
use crate::model::port::Protocol;

/// The name of our table.
pub(super) const TABLE: &str = "purelb";
/// How long an address stays guarded without an agent.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For how long an address is new. Within it, kube-proxy hears of the Service, of its address and of its endpoints.
const YOUNG: Duration = Duration::from_secs(8);

/// The chains with their hooks and priorities.
const PREROUTING: (&str, i32, i32) = ("prerouting", NF_INET_PRE_ROUTING, -110);
const INPUT: (&str, i32, i32) = ("input", NF_INET_LOCAL_IN, 10);
const OUTPUT: (&str, i32, i32) = ("output", NF_INET_LOCAL_OUT, 10);
const EARLY: [(&str, i32, i32); 2] = [("early-input", NF_INET_LOCAL_IN, -10), ("early-output", NF_INET_LOCAL_OUT, -10)];

/// The types of keys: an address of each family, a protocol, a port. Those of a key of several parts are six bits each.
const IPV4: u32 = 7;
const IPV6: u32 = 8;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
/// The sets of protocols, addresses and ports, each with the type of its keys for `nft list` and the length of a key.
const PROTOCOLS: Set = Set { name: "protocols", key: (PROTOCOL, 1), timeout: None };
const ADDRESSES: [Set; 2] = [
    Set { name: "vips4", key: (IPV4, 4), timeout: Some(TIMEOUT) },
    Set { name: "vips6", key: (IPV6, 16), timeout: Some(TIMEOUT) },
];
const NEW_ADDRESSES: [Set; 2] = [
    Set { name: "young4", key: (IPV4, 4), timeout: Some(YOUNG) },
    Set { name: "young6", key: (IPV6, 16), timeout: Some(YOUNG) },
];
const PORTS: [Set; 2] = [
    Set { name: "ports4", key: (IPV4 << 12 | PROTOCOL << 6 | PORT, 12), timeout: None },
    Set { name: "ports6", key: (IPV6 << 12 | PROTOCOL << 6 | PORT, 24), timeout: None },
];

struct Set {
    name: &'static str,
    key: (u32, u32),
    timeout: Option<Duration>,
}

const fn of<T>(pair: &[T; 2], family: Family) -> &T {
    let [v4, v6] = pair;
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// The names of the chains that there are with these rules.
pub(super) fn chains(rules: Rules) -> Vec<&'static str> {
    chains_of(rules).into_iter().map(|(name, ..)| name).collect()
}

fn chains_of(rules: Rules) -> Vec<(&'static str, i32, i32)> {
    match rules {
        Rules::Ports => vec![PREROUTING],
        Rules::PortsAndTranslated => [PREROUTING, INPUT, OUTPUT].into_iter().chain(EARLY).collect(),
    }
}

/// The messages of a change.
pub(super) fn messages(change: &GuardChange) -> Vec<Message> {
    match change {
        GuardChange::Build(rules, openings) => build(*rules, openings),
        GuardChange::Remove => vec![table(NFT_MSG_DELTABLE, 0)],
        GuardChange::Edit(edit) => self::edit(edit),
    }
}

fn build(rules: Rules, openings: &Openings) -> Vec<Message> {
    // Whatever there is of an earlier run goes, in the same moment as the new table comes.
    let mut messages =
        vec![table(NFT_MSG_NEWTABLE, NLM_F_CREATE), table(NFT_MSG_DELTABLE, 0), table(NFT_MSG_NEWTABLE, NLM_F_CREATE)];
    for (id, set) in (1..).zip(ADDRESSES.iter().chain(&NEW_ADDRESSES).chain(&PORTS).chain([&PROTOCOLS])) {
        messages.push(set.create(id));
    }
    let protocols: Vec<Vec<u8>> = Protocol::ALL.iter().map(|protocol| vec![protocol.number()]).collect();
    messages.extend(add(TABLE, PROTOCOLS.name, &protocols));
    for chain in chains_of(rules) {
        messages.push(create_chain(chain));
        for rule in Family::ALL.into_iter().flat_map(|family| rules_of(chain.0, family)) {
            messages.push(append(chain.0, &rule));
        }
    }
    // As a renewal: they are not new.
    let edit =
        Edit { renewed: Some(openings.addresses().collect()), opened: openings.all().collect(), ..Edit::default() };
    messages.extend(self::edit(&edit));
    messages
}

fn edit(edit: &Edit) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut change =
        |write: fn(&str, &str, &[Vec<u8>]) -> Vec<Message>, sets: &[Set; 2], keys: Vec<(Family, Vec<u8>)>| {
            for family in Family::ALL {
                let keys: Vec<Vec<u8>> = keys.iter().filter(|key| key.0 == family).map(|key| key.1.clone()).collect();
                messages.extend(write(TABLE, of(sets, family).name, &keys));
            }
        };
    change(add, &PORTS, edit.opened.iter().copied().map(opening).collect());
    for sets in [&ADDRESSES, &NEW_ADDRESSES] {
        change(add, sets, edit.guarded.iter().copied().map(address).collect());
    }
    change(remove, &ADDRESSES, edit.unguarded.iter().copied().map(address).collect());
    change(remove, &PORTS, edit.closed.iter().copied().map(opening).collect());
    if let Some(renewed) = &edit.renewed {
        change(|table, set, _| vec![flush(table, set)], &ADDRESSES, Vec::new());
        change(add, &ADDRESSES, renewed.iter().copied().map(address).collect());
    }
    messages
}

fn table(kind: i32, flags: i32) -> Message {
    /// `NFTA_TABLE_NAME`.
    const NAME: u16 = 1;
    Message::new(kind, flag(flags), NFPROTO_INET).text(NAME, TABLE)
}

impl Set {
    fn create(&self, id: u32) -> Message {
        /// `NFTA_SET_TABLE`, `_NAME`, `_FLAGS`, `_KEY_TYPE`, `_KEY_LEN`, `_ID`, `_TIMEOUT`.
        const ATTRIBUTES: [u16; 7] = [1, 2, 3, 4, 5, 10, 11];
        let [in_table, name, flags, key_type, key_length, number, timeout] = ATTRIBUTES;
        let has_timeout = self.timeout.map_or(0, |_| u32::try_from(NFT_SET_TIMEOUT).unwrap_or_default());
        let message = Message::new(NFT_MSG_NEWSET, flag(NLM_F_CREATE), NFPROTO_INET)
            .text(in_table, TABLE)
            .text(name, self.name)
            .number(flags, has_timeout)
            .number(key_type, self.key.0)
            .number(key_length, self.key.1)
            .number(number, id);
        let milliseconds = |timeout: Duration| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        match self.timeout {
            Some(time) => message.long(timeout, milliseconds(time)),
            None => message,
        }
    }
}

fn create_chain((name, hook, priority): (&str, i32, i32)) -> Message {
    /// `NFTA_CHAIN_TABLE`, `_NAME`, `_HOOK`, `_TYPE`; `NFTA_HOOK_HOOKNUM`, `_PRIORITY`.
    const ATTRIBUTES: [u16; 6] = [1, 3, 4, 7, 1, 2];
    let [in_table, chain, at, kind, number, order] = ATTRIBUTES;
    Message::new(NFT_MSG_NEWCHAIN, flag(NLM_F_CREATE), NFPROTO_INET)
        .text(in_table, TABLE)
        .text(chain, name)
        .nest(at, |at| at.number(number, u32::try_from(hook).unwrap_or_default()).bytes(order, &priority.to_be_bytes()))
        .text(kind, "filter")
}

fn append(chain: &str, rule: &Rule) -> Message {
    /// `NFTA_RULE_TABLE`, `_CHAIN`, `_EXPRESSIONS`.
    const ATTRIBUTES: [u16; 3] = [1, 2, 4];
    let [in_table, in_chain, expressions] = ATTRIBUTES;
    Message::new(NFT_MSG_NEWRULE, flag(NLM_F_CREATE | NLM_F_APPEND), NFPROTO_INET)
        .text(in_table, TABLE)
        .text(in_chain, chain)
        .nest(expressions, |list| rule.write(list))
}

fn rules_of(chain: &str, family: Family) -> Vec<Rule> {
    let to = |sets: &[Set; 2]| Rule::to(family, of(sets, family).name, PROTOCOLS.name).with_local_destination();
    let to_a_vip = || to(&ADDRESSES);
    if chain == PREROUTING.0 {
        let closed = to_a_vip().in_state(NEW_OR_UNTRACKED).outside(family, of(&PORTS, family).name);
        vec![to_a_vip().in_state(INVALID).drop(), closed.drop()]
    } else if EARLY.iter().any(|(early, ..)| *early == chain) {
        vec![to(&NEW_ADDRESSES).untranslated().drop()]
    } else {
        vec![to_a_vip().untranslated().drop()]
    }
}

fn flag(flags: i32) -> u16 {
    u16::try_from(flags).unwrap_or_default()
}
