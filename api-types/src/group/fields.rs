//! The fields of a ServiceGroup that hold ranges, in all forms that the two versions have.

use super::error::GroupError;
use super::pool::Pool;
use crate::Family;
use crate::service_group::{AddressPool, LocalSpec, RemoteSpec};

/// The fields with ranges of one kind of group.
pub(super) struct Fields<'a> {
    /// The name of the kind below `spec`.
    parent: &'static str,
    v4pools: Option<&'a [AddressPool]>,
    v4pool: Option<&'a AddressPool>,
    v6pools: Option<&'a [AddressPool]>,
    v6pool: Option<&'a AddressPool>,
    /// Where the flat fields of version v1 are.
    flat: Option<&'a LocalSpec>,
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

    pub(super) fn of_remote(remote: &'a RemoteSpec) -> Self {
        Self {
            parent: "remote",
            v4pools: remote.v4pools.as_deref(),
            v4pool: remote.v4pool.as_ref(),
            v6pools: remote.v6pools.as_deref(),
            v6pool: remote.v6pool.as_ref(),
            flat: None,
        }
    }

    /// All pools, in the order of [`Group::pools`](super::Group::pools).
    pub(super) fn pools(&self) -> Result<Vec<Pool>, GroupError> {
        let mut found: Vec<(String, Pool)> = Vec::new();
        for (family, name, list, single) in
            [(Family::V4, "v4pool", self.v4pools, self.v4pool), (Family::V6, "v6pool", self.v6pools, self.v6pool)]
        {
            for (index, written) in list.unwrap_or_default().iter().enumerate() {
                let field = format!("{}.{name}s[{index}]", self.parent);
                found.push((field.clone(), Pool::new(&field, written, Some(family))?));
            }
            if let Some(written) = single {
                let field = format!("{}.{name}", self.parent);
                found.push((field.clone(), Pool::new(&field, written, Some(family))?));
            }
        }
        let flat = match self.flat.map_or(Ok(None), flat_pool) {
            // A group that has pools in the other form may keep remains of the flat one (specification, api.md 4).
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
    // Some clients write absent fields as empty strings.
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    match (given(&local.pool), given(&local.subnet)) {
        (Some(range), Some(subnet)) => {
            let written = AddressPool { pool: range, subnet, aggregation: given(&local.aggregation) };
            Pool::new("local", &written, None).map(Some)
        }
        (Some(_), None) => Err(GroupError::FlatIncomplete { given: "pool", missing: "subnet" }),
        (None, Some(_)) => Err(GroupError::FlatIncomplete { given: "subnet", missing: "pool" }),
        (None, None) => Ok(None),
    }
}
