//! The fields of a ServiceGroup that hold ranges.

use ipnetwork::IpNetwork;

use super::{GroupError, Pool};
use crate::range::parse_cidr;
use crate::service_group::{AddressPool, LocalSpec};
use crate::{AddressRange, Aggregation, Family};

/// The range fields of one kind of group.
pub(super) struct Fields<'a> {
    pub(super) parent: &'static str,
    pub(super) v4pools: Option<&'a [AddressPool]>,
    pub(super) v4pool: Option<&'a AddressPool>,
    pub(super) v6pools: Option<&'a [AddressPool]>,
    pub(super) v6pool: Option<&'a AddressPool>,
    pub(super) flat: Option<&'a LocalSpec>,
}

impl<'a> Fields<'a> {
    pub(super) fn of_local(local: &'a LocalSpec) -> Self {
        Self {
            parent: "local",
            v4pools: local.v4pools.as_deref(),
            v4pool: local.v4pool.as_ref(),
            v6pools: local.v6pools.as_deref(),
            v6pool: local.v6pool.as_ref(),
            flat: Some(local),
        }
    }

    pub(super) fn pools(&self) -> Result<Vec<Pool>, GroupError> {
        let mut found: Vec<(String, Pool)> = Vec::new();
        for (family, name, list, single) in
            [(Family::V4, "v4pool", self.v4pools, self.v4pool), (Family::V6, "v6pool", self.v6pools, self.v6pool)]
        {
            for (index, written) in list.unwrap_or_default().iter().enumerate() {
                let field = format!("{}.{name}s[{index}]", self.parent);
                found.push((field.clone(), pool(&field, written, Some(family))?));
            }
            if let Some(written) = single {
                let field = format!("{}.{name}", self.parent);
                found.push((field.clone(), pool(&field, written, Some(family))?));
            }
        }
        let flat = match self.flat.map_or(Ok(None), flat_pool) {
            // A leftover of the flat form beside the other one (specification, api.md 4).
            Err(GroupError::FlatIncomplete { .. }) if !found.is_empty() => None,
            flat => flat?,
        };
        if let Some(flat) = flat {
            let family = flat.range.family();
            if found.iter().any(|(_, pool)| pool.range.family() == family) {
                return Err(GroupError::FlatTwice(family));
            }
            found.push(("local".to_owned(), flat));
        }
        if found.is_empty() {
            return Err(GroupError::NoRange(self.parent));
        }
        for (index, (first, one)) in found.iter().enumerate() {
            for (second, other) in found.iter().skip(index + 1) {
                if one.range.overlaps(other.range) {
                    return Err(GroupError::InnerOverlap {
                        first: first.clone(),
                        first_range: one.text.clone(),
                        second: second.clone(),
                        second_range: other.text.clone(),
                    });
                }
            }
        }
        found.sort_by_key(|(_, pool)| pool.range.family());
        Ok(found.into_iter().map(|(_, pool)| pool).collect())
    }
}

/// The flat range of version v1, if there is one.
fn flat_pool(local: &LocalSpec) -> Result<Option<Pool>, GroupError> {
    // Programs that write every field write the absent ones as empty.
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    match (given(&local.pool), given(&local.subnet)) {
        (Some(range), Some(subnet)) => {
            let written = AddressPool { pool: range, subnet, aggregation: given(&local.aggregation) };
            pool("local", &written, None).map(Some)
        }
        (Some(_), None) => Err(GroupError::FlatIncomplete { given: "pool", missing: "subnet" }),
        (None, Some(_)) => Err(GroupError::FlatIncomplete { given: "subnet", missing: "pool" }),
        (None, None) => Ok(None),
    }
}

fn pool(field: &str, written: &AddressPool, expected: Option<Family>) -> Result<Pool, GroupError> {
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
    Ok(Pool { range, text: written.pool.clone(), subnet, aggregation })
}
