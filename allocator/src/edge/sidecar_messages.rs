//! Calls and answers as messages of the sidecar protocol, and the check of what a sidecar answers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ::ipam::client;
use ::ipam::message::{
    AllocateRequest, AllocateResponse, ExplicitIPs, FamilyRequest, ListRequest, ListResponse, ReleaseRequest, Selector,
    StatsRequest, StatsResponse, Target,
};

use crate::external::{AddressRequest, Call, CallError, Failure, Listed, Response, Stats};
use crate::model::{Owner, ServiceName};

/// The most addresses that one answer may give (specification, allocation.md 12).
const MOST_ADDRESSES: usize = 16;
/// The most ranges that are kept for the status of a group, and the most letters of each.
const MOST_RANGES: (usize, usize) = (64, 128);
/// The most letters of an error: it is shown in Kubernetes events and conditions.
const MOST_LETTERS: usize = 300;

pub(super) fn allocate_request(call: &Call, owner: &Owner, request: &AddressRequest) -> AllocateRequest {
    let families = FamilyRequest { want_ipv4: request.v4, want_ipv6: request.v6 };
    AllocateRequest {
        pool: call.group.clone(),
        service: owner.name.to_string(),
        sharing_key: request.key.clone(),
        selector: Some(Selector::Families(families)),
        cluster: call.cluster.to_string(),
        service_uid: owner.uid.to_string(),
    }
}

/// Asks for the very addresses that the Service has already.
pub(super) fn restore_request(call: &Call, owner: &Owner, addresses: &BTreeSet<IpAddr>, key: &str) -> AllocateRequest {
    let ips = addresses.iter().map(ToString::to_string).collect();
    let request = AddressRequest { key: key.to_owned(), ..AddressRequest::default() };
    AllocateRequest {
        selector: Some(Selector::Explicit(ExplicitIPs { ips })),
        ..allocate_request(call, owner, &request)
    }
}

pub(super) fn release_request(call: &Call, owner: &Owner, address: Option<IpAddr>) -> ReleaseRequest {
    ReleaseRequest {
        pool: call.group.clone(),
        service: owner.name.to_string(),
        target: Some(address.map_or(Target::All(true), |address| Target::Ip(address.to_string()))),
        cluster: call.cluster.to_string(),
        service_uid: owner.uid.to_string(),
    }
}

pub(super) fn stats_request(call: &Call) -> StatsRequest {
    StatsRequest { pool: call.group.clone(), cluster: call.cluster.to_string() }
}

pub(super) fn list_request(call: &Call, page: &str) -> ListRequest {
    ListRequest { pool: call.group.clone(), cluster: call.cluster.to_string(), page: page.to_owned() }
}

/// What our cluster has, of an answer. What says otherwise, or nothing of use, is left out.
pub(super) fn listed(call: &Call, answer: ListResponse) -> Response {
    let ours = answer.allocations.into_iter().filter(|listed| *listed.cluster == *call.cluster);
    let named = ours.filter(|listed| !listed.service_uid.is_empty());
    let found = named.filter_map(|listed| {
        let (namespace, name) = listed.service.split_once('/')?;
        let owner = Owner::new(&ServiceName::new(namespace, name), &listed.service_uid);
        Some(Listed { owner, addresses: listed.ips.iter().filter_map(|ip| ip.parse().ok()).collect() })
    });
    Response::Listed(found.collect(), answer.next)
}

/// The addresses of an answer, each once.
///
/// # Errors
/// There are none or too many, or one is not an address. Nothing of such an answer is used.
pub(super) fn addresses(answer: &AllocateResponse) -> Result<Vec<IpAddr>, CallError> {
    let wrong = |text: String| Err(CallError { failure: Failure::Refused, may_have_acted: true, text });
    if answer.ips.is_empty() || answer.ips.len() > MOST_ADDRESSES {
        let count = answer.ips.len();
        return wrong(format!("it answers with {count} addresses, but must answer with 1 to {MOST_ADDRESSES}"));
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for given in &answer.ips {
        let Ok(address) = given.ip.parse::<IpAddr>() else {
            let text: String = given.ip.chars().take(60).collect();
            return wrong(format!("it answers with {text:?}, which is not an IP address"));
        };
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

/// The numbers of an answer.
pub(super) fn stats(answer: StatsResponse) -> Stats {
    let (ranges, letters) = MOST_RANGES;
    let shown = answer.display_addresses.into_iter().take(ranges);
    Stats {
        used: (answer.in_use_v4, answer.in_use_v6),
        size: answer.has_known_capacity.then_some((answer.size_v4, answer.size_v6)),
        ranges: shown.map(|text| text.chars().take(letters).collect()).collect(),
        keeps_owners: answer.keeps_owners,
    }
}

/// The error of a call, with its text cut and made printable.
pub(super) fn call_error(error: &client::CallError) -> CallError {
    let status = &error.status;
    let failure = match error.failure {
        client::Failure::Unreachable => Failure::Unreachable,
        client::Failure::Broken => Failure::Broken,
        client::Failure::NoAnswer => Failure::NoAnswer,
        client::Failure::Refused => Failure::Refused,
    };
    let printable = status.message().chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let message: String = printable.take(MOST_LETTERS).collect();
    CallError { failure, may_have_acted: failure != Failure::Refused, text: format!("{:?}: {message}", status.code()) }
}

#[cfg(test)]
mod tests {
    use ::ipam::Status;
    use ::ipam::message::AllocatedIP;

    use super::*;

    fn answer(texts: &[&str]) -> AllocateResponse {
        AllocateResponse { ips: texts.iter().map(|text| AllocatedIP { ip: (*text).to_owned() }).collect() }
    }

    #[test]
    fn an_answer_is_used_as_a_whole_or_not_at_all() {
        assert_eq!(addresses(&answer(&["192.0.2.1", "192.0.2.1", "2001:db8::1"])).unwrap().len(), 2);
        assert!(addresses(&answer(&[])).unwrap_err().text.contains("0 addresses"));
        assert!(addresses(&answer(&["192.0.2.1"; 17])).unwrap_err().text.contains("17 addresses"));
        assert!(addresses(&answer(&["192.0.2.1", "192.0.2.2/24"])).unwrap_err().text.contains("not an IP address"));
    }

    #[test]
    fn a_missing_answer_is_distinguished_from_a_refusal() {
        let error = |failure, status| call_error(&client::CallError { failure, status });
        assert_eq!(error(client::Failure::Unreachable, Status::unavailable("x")).failure, Failure::Unreachable);
        assert_eq!(error(client::Failure::NoAnswer, Status::deadline_exceeded("x")).failure, Failure::NoAnswer);
        let down = error(client::Failure::Refused, Status::unavailable("the IPAM behind it is down"));
        assert!(down.failure == Failure::Refused && !down.may_have_acted);
        let shown = error(client::Failure::Refused, Status::internal(format!("a\nb{}", "x".repeat(1000)))).text;
        assert!(shown.starts_with("Internal: a b") && shown.len() < 400);
    }
}
