//! Calls and answers as data, and what of an answer can be believed.

use std::net::IpAddr;

use ::ipam::message::{
    AllocateRequest, AllocateResponse, FamilyRequest, ReleaseRequest, Selector, StatsRequest, StatsResponse, Target,
};
use ::ipam::{Code, Status};
use api_types::Family;

use crate::service::Name;

/// The most addresses that one answer may give (specification, allocation.md 12).
const MOST: usize = 16;

/// What a Service wants of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// An IPv4 address.
    pub v4: bool,
    /// An IPv6 address.
    pub v6: bool,
    /// Its sharing key; empty for none.
    pub key: String,
}

impl Ask {
    /// Whether addresses of the family are wanted.
    #[must_use]
    pub const fn wants(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Addresses for a Service.
    Allocate(Name, Ask),
    /// One address of a Service back, or all.
    Release(Name, Option<IpAddr>),
    /// Numbers.
    Stats,
}

/// A call to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Unlike that of any other call of this ledger; an answer names it.
    pub id: u64,
    /// The socket of the sidecar.
    pub socket: String,
    /// The name of the group.
    pub group: String,
    /// What is asked.
    pub request: Request,
}

/// Numbers of a sidecar about one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Addresses in use, IPv4 and IPv6.
    pub used: (u64, u64),
    /// All addresses, IPv4 and IPv6, if the sidecar knows.
    pub size: Option<(u64, u64)>,
    /// The ranges for people.
    pub shown: Vec<String>,
}

/// What a sidecar answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// All addresses of the Service.
    Addresses(Vec<IpAddr>),
    /// They are back.
    Released,
    /// Numbers.
    Stats(Stats),
}

/// Why there is no such answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The sidecar did not answer at all: others would fare the same.
    pub silent: bool,
    /// It may have done what was asked.
    pub done: bool,
    /// A sentence.
    pub text: String,
}

impl From<&Status> for Trouble {
    fn from(status: &Status) -> Self {
        let silent = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
            // What breaks below gRPC comes without a code of its own.
            || (status.code() == Code::Unknown && status.message().contains("transport"));
        // Bounded, since it is shown in events and conditions, and printable.
        let words: String =
            status.message().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect();
        Self { silent, done: silent, text: format!("{:?}: {words}", status.code()) }
    }
}

impl Request {
    /// The Service that it is about.
    #[must_use]
    pub const fn service(&self) -> Option<&Name> {
        match self {
            Self::Allocate(name, _) | Self::Release(name, _) => Some(name),
            Self::Stats => None,
        }
    }
}

pub(super) fn allocate(pool: &str, service: &Name, ask: &Ask) -> AllocateRequest {
    AllocateRequest {
        pool: pool.to_owned(),
        service: service.to_string(),
        sharing_key: ask.key.clone(),
        selector: Some(Selector::Families(FamilyRequest { want_ipv4: ask.v4, want_ipv6: ask.v6 })),
    }
}

pub(super) fn release(pool: &str, service: &Name, address: Option<IpAddr>) -> ReleaseRequest {
    let target = address.map_or(Target::All(true), |address| Target::Ip(address.to_string()));
    ReleaseRequest { pool: pool.to_owned(), service: service.to_string(), target: Some(target) }
}

pub(super) fn stats(pool: &str) -> StatsRequest {
    StatsRequest { pool: pool.to_owned() }
}

/// The addresses of an answer, each once.
///
/// # Errors
/// None, too many, or something that is no address: then nothing of the answer is used.
pub(super) fn addresses(answer: &AllocateResponse) -> Result<Vec<IpAddr>, Trouble> {
    let wrong = |text: String| Err(Trouble { silent: false, done: true, text });
    if answer.ips.is_empty() || answer.ips.len() > MOST {
        return wrong(format!("it answers with {} addresses, which must be 1 to {MOST}", answer.ips.len()));
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for given in &answer.ips {
        let Ok(address) = given.ip.parse::<IpAddr>() else {
            let text: String = given.ip.chars().take(60).collect();
            return wrong(format!("it answers with {text:?}, which is no IP address"));
        };
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

pub(super) fn numbers(answer: StatsResponse) -> Stats {
    /// Ranges for people that are shown at most, so that the status of a group stays small.
    const SHOWN: usize = 64;
    let size = answer.has_known_capacity.then_some((answer.size_v4, answer.size_v6));
    let shown = answer.display_addresses.into_iter().take(SHOWN).map(|text| text.chars().take(128).collect()).collect();
    Stats { used: (answer.in_use_v4, answer.in_use_v6), size, shown }
}

/// Whether a host can have it as an address of its own that others reach.
///
/// # Errors
/// Why not.
pub fn usable(address: IpAddr) -> Result<(), &'static str> {
    match address {
        address if address.is_unspecified() || address.is_loopback() || address.is_multicast() => {
            Err("which no host can be reached by")
        }
        IpAddr::V4(address) if address.is_broadcast() || address.is_link_local() => {
            Err("which no host can be reached by")
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => Err("which is valid on one link only"),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err("which is an IPv4 address in IPv6 form"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
        assert!(addresses(&answer(&["192.0.2.1", "192.0.2.2/24"])).unwrap_err().text.contains("no IP address"));
    }

    #[test]
    fn addresses_that_no_client_can_reach_are_none() {
        for text in
            ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::", "::1", "ff02::1", "fe80::1"]
        {
            assert!(usable(text.parse().unwrap()).is_err(), "{text}");
        }
        assert!(usable("::ffff:192.0.2.1".parse().unwrap()).is_err());
        assert!(usable("192.0.2.1".parse().unwrap()).is_ok() && usable("2001:db8::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn no_answer_is_told_from_a_refusal() {
        assert!(Trouble::from(&Status::unavailable("x")).silent);
        assert!(Trouble::from(&Status::deadline_exceeded("x")).silent);
        assert!(!Trouble::from(&Status::resource_exhausted("x")).silent);
        assert!(!Trouble::from(&Status::unknown("x")).silent);
        let shown = Trouble::from(&Status::internal(format!("a\nb{}", "x".repeat(1000)))).text;
        assert!(shown.starts_with("Internal: a b") && shown.len() < 400);
    }
}
