//! The file in which the example keeps its allocations.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::allocations::{Allocation, Allocations, Owner};

/// One allocation.
#[derive(Serialize, Deserialize)]
struct Entry {
    pool: String,
    #[serde(flatten)]
    owner: Owner,
    #[serde(flatten)]
    allocation: Allocation,
}

/// What a file holds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Entries(Vec<Entry>),
    /// As older releases wrote it: by pool, then by Service.
    WithoutOwners(BTreeMap<String, BTreeMap<String, Allocation>>),
}

/// Reads the allocations; there are none if the file does not exist.
///
/// # Errors
/// The file cannot be read, or does not hold allocations.
pub(crate) fn read(file: &Path) -> io::Result<Allocations> {
    let bytes = match std::fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Allocations::default()),
        read => read?,
    };
    let mut allocations = Allocations::default();
    let mut add = |pool: String, owner: Owner, allocation: Allocation| {
        allocations.entry(pool).or_default().insert(owner, allocation);
    };
    match serde_json::from_slice(&bytes)? {
        Content::Entries(entries) => {
            for Entry { pool, owner, allocation } in entries {
                add(pool, owner, allocation);
            }
        }
        Content::WithoutOwners(pools) => {
            for (pool, services) in pools {
                for (service, allocation) in services {
                    add(pool.clone(), Owner { service, ..Owner::default() }, allocation);
                }
            }
        }
    }
    Ok(allocations)
}

/// Keeps other processes from changing the file until the returned lock is dropped.
///
/// # Errors
/// The file of the lock cannot be created.
pub(crate) fn lock(file: &Path) -> io::Result<File> {
    let lock = File::create(file.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Replaces the file. When this returns, the allocations survive a power failure.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(file: &Path, allocations: &Allocations) -> io::Result<()> {
    let entry = |pool: &String, (owner, allocation): (&Owner, &Allocation)| Entry {
        pool: pool.clone(),
        owner: owner.clone(),
        allocation: allocation.clone(),
    };
    let entries = allocations.iter().flat_map(|(pool, owners)| owners.iter().map(move |found| entry(pool, found)));
    let bytes = serde_json::to_vec(&entries.collect::<Vec<_>>())?;
    let new = file.with_extension("new");
    let mut written = File::create(&new)?;
    written.write_all(&bytes)?;
    written.sync_all()?;
    std::fs::rename(new, file)?;
    // The name is safe when its directory is.
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
