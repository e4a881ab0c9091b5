//! The programs: small, static, and able to start.

use std::process::Command;

use e2e::checkout;

/// Whether a 64-bit little-endian ELF file asks for a program to load it (ELF specification, `PT_INTERP`).
fn has_interpreter(elf: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|header| number(table + header * size, 4) == 3)
}

#[test]
fn the_programs_are_small_static_and_start_at_once() {
    for (program, most) in [("allocator", 12_000_000), ("lbnodeagent", 13_000_000), ("bfd-speaker", 3_000_000)] {
        let image = checkout(&format!("target/images/{program}.tar"));
        let size = std::fs::metadata(&image)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make images`", image.display()))
            .len();
        assert!(size < most, "the image of {program} has {size} bytes");
        let binary = checkout(&format!("target/bin/{program}"));
        assert!(std::fs::metadata(&binary).unwrap().len() < most, "{program} is too big");
        assert!(!has_interpreter(&std::fs::read(&binary).unwrap()), "{program} needs a dynamic loader");
        assert!(Command::new(&binary).arg("--version").output().unwrap().status.success());
    }
}
