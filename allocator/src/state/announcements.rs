//! Looks for addresses that nobody announces, and reports them.
//!
//! Only the leader does, and not before there are agents and every one that is alive has told all. The Services that it has not looked at
//! keep what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::lease::Inactive;
use api_types::names::reason::NOT_ANNOUNCED;
use api_types::{Family, Group};
use ipnetwork::IpNetwork;
use runtime::BootTime;
use tracing::warn;

use super::condition::join_first;
use super::endpoints::Places;
use super::held_reports::AgentReports;
use super::index::Index;
use super::service_conditions::stored_not_announced;
use super::unannounced::{Found, GroupReport, Looked, Seen};
use crate::announcement::{AgentState, Announcement, Announcer, Finding, NodeFacts, Place, Question, decide};
use crate::model::{Scope, Service, ServiceName, Slice};
use crate::plan::{Notice, counts_as_given};

/// The most Services that an event about a group names.
const LISTED: usize = 5;

/// A node.
struct Row<'a> {
    agent: AgentState,
    excluded: bool,
    subnets: &'a [IpNetwork],
    addresses: &'a [IpAddr],
}

type Rows<'a> = BTreeMap<&'a str, Row<'a>>;

/// Input.
impl Index {
    /// What the agents report of single addresses.
    pub fn set_agent_reports(&mut self, reports: AgentReports) {
        if self.announcing.reports != reports {
            self.announcing.reports = reports;
            self.announcing.touch();
        }
    }

    /// Whether `EndpointSlices` are to be watched.
    #[must_use]
    pub const fn needs_endpoints(&self) -> bool {
        self.announcing.needs_endpoints
    }

    /// An EndpointSlice was added or changed.
    pub fn apply_slice(&mut self, slice: Slice) {
        if self.announcing.endpoints.apply(slice) {
            self.announcing.touch();
        }
    }

    /// An EndpointSlice was deleted.
    pub fn delete_slice(&mut self, service: &ServiceName, name: &str) {
        self.announcing.endpoints.delete(service, name);
        self.announcing.touch();
    }

    /// The complete list of `EndpointSlices`.
    pub fn reset_slices(&mut self, slices: Vec<Slice>) {
        self.announcing.endpoints.reset(slices);
        self.announcing.touch();
    }

    /// `EndpointSlices` are not watched any more.
    pub fn forget_slices(&mut self) {
        self.announcing.endpoints.clear();
        self.announcing.touch();
    }
}

/// Looking.
impl Index {
    /// Looks for addresses that nobody announces, if something has changed and the last look is long enough ago.
    pub fn check_announcements(&mut self, now: BootTime) {
        if !self.leading || !self.announcing.is_due(now) {
            return;
        }
        // Where no agent was ever started, the conditions of the groups say enough.
        let has_agents = self.cluster.members.nodes().next().is_some();
        self.announcing.ready |= self.heard_all && has_agents;
        if !self.announcing.ready {
            return;
        }
        let rows = self.rows();
        let served = || self.services.iter().filter(|service| service.scope == Scope::Ours && !service.deleting);
        let needs_endpoints = served().any(|service| service.local_policy && !service.addresses.is_empty());
        let looked: Vec<Looked> = served()
            .map(|service| Looked {
                name: service.name.clone(),
                seen: self.look(service, &rows),
                condition: stored_not_announced(service),
            })
            .collect();
        let (reports, again) = self.announcing.unannounced.update(&looked, now);
        self.announcing.needs_endpoints = needs_endpoints;
        (self.announcing.dirty, self.announcing.looked) = (again, Some(now));
        for (name, text) in reports.services {
            let Some(service) = self.services.get(&name) else { continue };
            warn!(op = "announcing", service = %name, "{text}");
            self.publish(service.reference(), Notice::warning(NOT_ANNOUNCED, text));
        }
        for (group, report) in reports.groups {
            let text = group_text(&report);
            warn!(op = "announcing", namespace = group.0, name = group.1, "{text}");
            self.publish(self.groups.reference(&group), Notice::warning(NOT_ANNOUNCED, text));
        }
        for name in reports.conditions {
            self.enqueue(&name);
        }
    }

    /// The nodes, as far as Nodes and Leases show them.
    fn rows(&self) -> Rows<'_> {
        let mut rows = Rows::new();
        for node in self.cluster.nodes.iter() {
            let row = Row {
                agent: AgentState::NotRunning,
                excluded: node.excluded,
                subnets: &[],
                addresses: &node.addresses,
            };
            rows.insert(&node.name, row);
        }
        for (name, alive, inactive, subnets) in self.cluster.members.iter() {
            if !alive && !self.cluster.nodes.may_exist(name) {
                continue;
            }
            let agent = match inactive {
                _ if !alive => AgentState::NotRunning,
                Some(Inactive::Deselected) => AgentState::Deselected,
                Some(Inactive::Invalid) => AgentState::Invalid,
                None => AgentState::Running,
            };
            let row = rows.entry(name).or_insert(Row { agent, excluded: false, subnets, addresses: &[] });
            (row.agent, row.subnets) = (agent, subnets);
        }
        rows
    }

    /// Looks at the addresses of a Service that the allocator gave it.
    fn look(&self, service: &Service, rows: &Rows<'_>) -> Seen {
        let snapshot = self.snapshot();
        let is_given = |address: &&IpAddr| {
            service.addresses.contains(address)
                && (service.provenance.list.is_some() || counts_as_given(&snapshot, service, **address))
        };
        let (mut unknown, mut found) = (false, Vec::new());
        for &address in service.claimed().iter().filter(is_given) {
            match self.announcement(service, address, rows) {
                Announcement::Announced => {}
                Announcement::Unknown => unknown = true,
                Announcement::Nobody(finding) => found.push(finding),
            }
        }
        // What nothing explains is reported later.
        if found.iter().any(|finding| finding.is_explained()) {
            found.retain(|finding| finding.is_explained());
        }
        match found.first() {
            Some(first) => Seen::Nobody(self.found(first, &found)),
            None if unknown => Seen::Unknown,
            None => Seen::Announced,
        }
    }

    fn found(&self, first: &Finding, all: &[Box<Finding>]) -> Found {
        let table = self.groups.table();
        let group = table.group_of(first.address).and_then(|(group, _)| table.id_of(&group.name));
        Found {
            reason: first.reason(),
            message: join_first(all.iter().map(ToString::to_string), LISTED, ". "),
            explained: first.is_explained(),
            may_linger: first.may_linger,
            group: group.cloned(),
        }
    }

    fn announcement(&self, service: &Service, address: IpAddr, rows: &Rows<'_>) -> Announcement {
        let pool = self.groups.table().group_of(address);
        let announce = pool.map(|(group, _): (&Group, _)| group.announce).or(service.written.pool_type);
        // The agents know by what their kernels have how they announce it.
        let Some(announce) = announce else { return Announcement::Unknown };
        let sharers: Vec<&Service> = self.sharers(address).collect();
        let (endpoints_known, with_endpoints) = self.with_endpoints(address, &sharers);
        let question = Question {
            address,
            announce,
            subnet: pool.map(|(_, pool)| pool.subnet),
            announcer: self.announcer(address, &sharers, rows),
            local_policy: with_endpoints.is_some(),
            endpoints_known,
            subnets: &self.node_subnets,
        };
        let nodes = rows.iter().map(|(name, row)| NodeFacts {
            name,
            agent: row.agent,
            place: place(row, address, question.subnet),
            excluded: row.excluded,
            endpoint: with_endpoints.as_ref().is_none_or(|nodes| nodes.contains(name)),
            refusal: self.announcing.reports.refusal(address, name),
        });
        let answer = decide(&question, nodes);
        // An agent whose report has further pages may hold the address.
        let is_open = matches!(&answer, Announcement::Nobody(finding) if !finding.is_explained()) && !self.heard_all;
        if is_open { Announcement::Unknown } else { answer }
    }

    /// The Services that have the address from us.
    fn sharers(&self, address: IpAddr) -> impl Iterator<Item = &Service> {
        let holders = self.addresses.holders(address).iter().filter_map(|name| self.services.get(name));
        holders.filter(move |holder| holder.scope == Scope::Ours && holder.claimed().contains(&address))
    }

    /// Whether it is known where the endpoints are that the traffic policies require, and the nodes with endpoints of one
    /// of the Services with the policy `Local`; no nodes if any node will do.
    fn with_endpoints(&self, address: IpAddr, sharers: &[&Service]) -> (bool, Option<BTreeSet<&str>>) {
        let (mut known, mut nodes) = (true, None);
        for sharer in sharers.iter().filter(|sharer| sharer.local_policy) {
            match self.announcing.endpoints.places(&sharer.name, Family::of(address)) {
                None => known = false,
                Some(Places::Everywhere) => {}
                Some(Places::Nodes(found)) => nodes.get_or_insert_with(BTreeSet::new).extend(found),
            }
        }
        (known, if known { nodes } else { None })
    }

    /// Who announces the address, as its Services and the agents' reports say.
    fn announcer(&self, address: IpAddr, sharers: &[&Service], rows: &Rows<'_>) -> Announcer {
        let reports = &self.announcing.reports;
        let is_running = |node: &str| rows.get(node).is_some_and(|row| row.agent != AgentState::NotRunning);
        let is_sharer = |uid: &str| sharers.iter().any(|sharer| *sharer.uid == *uid);
        if reports.holders(address).any(|(node, uid)| is_sharer(uid) && is_running(node)) {
            return Announcer::Alive;
        }
        let noted = sharers.iter().flat_map(|sharer| &sharer.announced).filter(|(noted, _)| *noted == address);
        let mut nodes = noted.map(|(_, node)| &**node).filter(|node| reports.refusal(address, node).is_none());
        if nodes.clone().any(is_running) {
            Announcer::Alive
        } else if nodes.any(|node| rows.contains_key(node)) {
            Announcer::Silent
        } else {
            Announcer::Nobody
        }
    }
}

fn place(row: &Row<'_>, address: IpAddr, subnet: Option<IpNetwork>) -> Place {
    if row.subnets.iter().any(|network| network.contains(address)) {
        Place::Inside
    } else if subnet.is_some_and(|subnet| row.addresses.iter().any(|own| subnet.contains(*own))) {
        Place::NotSelected
    } else {
        Place::Outside
    }
}

fn group_text(report: &GroupReport) -> String {
    let names = join_first(report.examples.iter().map(ToString::to_string), LISTED, ", ");
    format!(
        "{} Services with an address of this group have one that nobody announces ({names}), for example: {}. The condition purelb.io/NotAnnounced of each Service says why",
        report.count, report.text
    )
}
