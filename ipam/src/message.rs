//! The messages of `ipam.proto`, written by hand so that a build needs no protocol buffer compiler.
//!
//! A test compares every field with the file.

/// Asks for addresses.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AllocateRequest {
    /// Name of the ServiceGroup.
    #[prost(string, tag = "1")]
    pub pool: String,
    /// `namespace/name`.
    #[prost(string, tag = "2")]
    pub service: String,
    /// Empty for none.
    #[prost(string, tag = "3")]
    pub sharing_key: String,
    /// What is wanted.
    #[prost(oneof = "Selector", tags = "4, 5")]
    pub selector: Option<Selector>,
    /// Who asks: the cluster. Empty if an older allocator asks.
    #[prost(string, tag = "6")]
    pub cluster: String,
    /// Who asks: the UID of the Service. Empty if an older allocator asks.
    #[prost(string, tag = "7")]
    pub service_uid: String,
}

/// What is wanted.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum Selector {
    /// These very addresses, which the Service has already.
    #[prost(message, tag = "4")]
    Explicit(ExplicitIPs),
    /// Addresses of these families.
    #[prost(message, tag = "5")]
    Families(FamilyRequest),
}

/// Some addresses.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ExplicitIPs {
    /// As text.
    #[prost(string, repeated, tag = "1")]
    pub ips: Vec<String>,
}

/// Some families.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct FamilyRequest {
    /// Whether IPv4 is wanted.
    #[prost(bool, tag = "1")]
    pub want_ipv4: bool,
    /// Whether IPv6 is wanted.
    #[prost(bool, tag = "2")]
    pub want_ipv6: bool,
}

/// All addresses of the Service in the pool.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AllocateResponse {
    /// 1 to 16 addresses.
    #[prost(message, repeated, tag = "1")]
    pub ips: Vec<AllocatedIP>,
}

/// An address.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AllocatedIP {
    /// As text, without a prefix length.
    #[prost(string, tag = "1")]
    pub ip: String,
}

/// Gives addresses back.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ReleaseRequest {
    /// Name of the ServiceGroup.
    #[prost(string, tag = "1")]
    pub pool: String,
    /// `namespace/name`.
    #[prost(string, tag = "2")]
    pub service: String,
    /// Which of them.
    #[prost(oneof = "Target", tags = "3, 4")]
    pub target: Option<Target>,
    /// Whose they are: the cluster. Empty if an older allocator asks.
    #[prost(string, tag = "5")]
    pub cluster: String,
    /// Whose they are: the UID of the Service. Empty if an older allocator asks.
    #[prost(string, tag = "6")]
    pub service_uid: String,
}

/// Which addresses to give back.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum Target {
    /// This address.
    #[prost(string, tag = "3")]
    Ip(String),
    /// All addresses of the Service in the pool.
    #[prost(bool, tag = "4")]
    All(bool),
}

/// The addresses are free again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ReleaseResponse {}

/// Asks how many addresses there are and how many are in use.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct StatsRequest {
    /// Name of the ServiceGroup.
    #[prost(string, tag = "1")]
    pub pool: String,
    /// The cluster that asks. Empty if an older allocator asks.
    #[prost(string, tag = "2")]
    pub cluster: String,
}

/// How many addresses there are and how many are in use.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct StatsResponse {
    /// IPv4 addresses in use.
    #[prost(uint64, tag = "1")]
    pub in_use_v4: u64,
    /// IPv6 addresses in use.
    #[prost(uint64, tag = "2")]
    pub in_use_v6: u64,
    /// All IPv4 addresses.
    #[prost(uint64, tag = "3")]
    pub size_v4: u64,
    /// All IPv6 addresses.
    #[prost(uint64, tag = "4")]
    pub size_v6: u64,
    /// Whether the sizes are known.
    #[prost(bool, tag = "5")]
    pub has_known_capacity: bool,
    /// The ranges as text, for people.
    #[prost(string, repeated, tag = "6")]
    pub display_addresses: Vec<String>,
    /// Whether `cluster` and `service_uid` are part of the key.
    #[prost(bool, tag = "7")]
    pub keeps_owners: bool,
}

/// Asks what a cluster has of a pool.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ListRequest {
    /// Name of the ServiceGroup.
    #[prost(string, tag = "1")]
    pub pool: String,
    /// The cluster.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// Empty for the first page.
    #[prost(string, tag = "3")]
    pub page: String,
}

/// Some of what a cluster has of a pool.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ListResponse {
    /// At most 1000.
    #[prost(message, repeated, tag = "1")]
    pub allocations: Vec<ListedAllocation>,
    /// Names the next page; empty if this is the last one.
    #[prost(string, tag = "2")]
    pub next: String,
}

/// What one Service has.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ListedAllocation {
    /// The cluster.
    #[prost(string, tag = "1")]
    pub cluster: String,
    /// `namespace/name`.
    #[prost(string, tag = "2")]
    pub service: String,
    /// The UID of the Service.
    #[prost(string, tag = "3")]
    pub service_uid: String,
    /// As text, without a prefix length.
    #[prost(string, repeated, tag = "4")]
    pub ips: Vec<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// `message.field = number` of the file, and of this module, where a field has its tag in the line before.
    fn of_file() -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut message = "";
        for line in include_str!("../proto/purelb/ipam/v1/ipam.proto").lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("message ") {
                message = rest.split(' ').next().unwrap();
            } else if let Some((field, number)) = line.trim_end_matches(';').split_once(" = ")
                && number.parse::<u32>().is_ok()
            {
                found.insert(format!("{message}.{} = {number}", field.rsplit(' ').next().unwrap()));
            }
        }
        found
    }

    fn of_module() -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let (mut message, mut tag) = (String::new(), None);
        let source = include_str!("message.rs").split("mod tests").next().unwrap();
        for line in source.lines().map(str::trim) {
            let name = |text: &str| text.split([' ', ':', '(']).next().unwrap().to_owned();
            if let Some(rest) = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum ")) {
                message = match name(rest).as_str() {
                    "Selector" => "AllocateRequest".to_owned(),
                    "Target" => "ReleaseRequest".to_owned(),
                    other => other.to_owned(),
                };
            } else if let Some((_, rest)) = line.split_once(", tag = \"").filter(|_| line.starts_with("#[prost(")) {
                tag = Some(rest.split('"').next().unwrap().to_owned());
            } else if let Some(tag) = tag.take() {
                let field = name(line.strip_prefix("pub ").unwrap_or(line)).to_lowercase();
                found.insert(format!("{message}.{field} = {tag}"));
            }
        }
        found
    }

    #[test]
    fn the_messages_are_those_of_the_committed_file() {
        assert!(of_file().len() > 15);
        assert_eq!(of_file(), of_module());
    }
}
