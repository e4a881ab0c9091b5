//! The corpora of the fuzz targets, as ordinary tests.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../fuzz/drive.rs"]
mod drive;

use std::path::Path;

use bfd::{Packet, Wanted};
use proptest::prelude::*;

/// The names of those that are understood, and of those that are refused.
fn sorted(target: &str, understood: impl Fn(&[u8]) -> bool) -> (Vec<String>, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut names: Vec<String> =
        std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.into_iter().partition(|name| understood(&std::fs::read(path.join(name)).unwrap()))
}

#[test]
fn packets() {
    let (understood, refused) = sorted("packet", |bytes| Packet::decode(bytes).is_ok());
    assert_eq!(understood, ["admin-down", "down", "final", "init", "longer-datagram", "poll", "up"]);
    let expected = [
        "authenticated",
        "empty",
        "length",
        "multiplier",
        "multipoint",
        "my-discriminator",
        "short",
        "version",
        "your-discriminator",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn wanted_files() {
    let (understood, refused) = sorted("wanted", |bytes| Wanted::parse(bytes).is_ok());
    assert_eq!(understood, ["all-fields", "empty-list", "minimal", "shutting-down"]);
    assert_eq!(refused, ["bad-address", "empty", "no-interface", "truncated", "version-2"]);
}

#[test]
fn tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/table");
    let inputs: Vec<Vec<u8>> =
        std::fs::read_dir(path).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(inputs.len() >= 6);
    for input in &inputs {
        drive::drive(input);
    }
}

proptest! {
    /// Random damage to the corpus, which reaches deeper than random bytes.
    #[test]
    fn damaged_tables(name in prop::sample::select(vec!["up", "router-restarts", "expires", "polls"]), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12)) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/table").join(name);
        let mut input = std::fs::read(path).unwrap();
        for (at, value) in damage {
            let at = at.index(input.len());
            input[at] = value;
        }
        drive::drive(&input);
    }
}
