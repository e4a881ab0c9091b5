//! One range of a group, with the subnet and the aggregation that apply to it.

use ipnetwork::IpNetwork;

use super::error::GroupError;
use crate::range::parse_cidr;
use crate::service_group::AddressPool;
use crate::{AddressRange, Aggregation, Family};

/// A range of addresses with its subnet and its aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The addresses.
    pub range: AddressRange,
    /// The range as it is written in the resource.
    pub text: String,
    /// The subnet as a network: its host bits are zero. It contains the whole range.
    pub subnet: IpNetwork,
    /// The prefix length on the dummy interface. It fits the family.
    pub aggregation: Aggregation,
}

impl Pool {
    /// Validates the entry at the path `field` below `spec`, which must be of the family `expected` if there is one.
    pub(super) fn new(field: &str, written: &AddressPool, expected: Option<Family>) -> Result<Self, GroupError> {
        let range: AddressRange =
            written.pool.parse().map_err(|source| GroupError::Range { field: format!("{field}.pool"), source })?;
        let family = range.family();
        if let Some(expected) = expected.filter(|expected| *expected != family) {
            return Err(GroupError::WrongFamily { field: field.to_owned(), range: written.pool.clone(), expected });
        }
        let subnet = parse_cidr(&written.subnet)
            .and_then(|network| IpNetwork::new(network.network(), network.prefix()).ok())
            .ok_or_else(|| GroupError::Subnet { field: format!("{field}.subnet"), text: written.subnet.clone() })?;
        let network = AddressRange::of_network(subnet);
        if !(network.contains(range.first()) && network.contains(range.last())) {
            return Err(GroupError::OutsideSubnet {
                field: field.to_owned(),
                range: written.pool.clone(),
                subnet: written.subnet.clone(),
            });
        }
        let aggregation = written
            .aggregation
            .as_deref()
            .map_or(Ok(Aggregation::Subnet), str::parse)
            .and_then(|aggregation: Aggregation| aggregation.fits(family))
            .map_err(|source| GroupError::Aggregation { field: format!("{field}.aggregation"), source })?;
        Ok(Self { range, text: written.pool.clone(), subnet, aggregation })
    }

    /// The prefix length in bits that an address of this pool has on the dummy interface.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.aggregation.prefix_len(self.subnet)
    }
}
