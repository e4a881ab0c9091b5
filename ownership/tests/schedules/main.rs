//! Random schedules: faults of every kind at random times, invariants at every step, and peace at the end.
//!
//! | Variable | Sets |
//! |---|---|
//! | `OWNERSHIP_SEEDS` | how many seeds of 2 to 5 nodes (default 10,000) |
//! | `OWNERSHIP_MEDIUM` | how many seeds of 12 to 24 nodes, on both sides of [`EAGER`] (default 32) |
//! | `OWNERSHIP_LARGE` | how many seeds of 50 nodes (default 100) |
//! | `OWNERSHIP_FROM` | the first seed (default 1) |
//! | `OWNERSHIP_VIPS` | how many addresses a thousand nodes serve (default 100) |
//! | `OWNERSHIP_SEED` | the seed of [`one_seed`] |
//!
//! The seeds are dealt out to several tests, so that a runner uses all processors. A failing seed prints its trace; it
//! then belongs into [`REGRESSIONS`].

// The helpers of a test may panic, like the test itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::struct_excessive_bools)]
#![allow(clippy::large_enum_variant, clippy::needless_pass_by_value, clippy::unused_self)]
#![allow(clippy::single_match_else, clippy::semicolon_if_nothing_returned)]

mod faults;
mod large;
mod schedule;
#[path = "../sim/mod.rs"]
mod sim;

use std::hash::Hasher;

use ownership::membership::EAGER;

use schedule::{Draw, schedule};

/// Seeds that failed once, with what they were drawn from.
///
/// The second draw's two: an agent that started without API server kept an address beside a stronger claim; the row
/// `an_agent_that_starts_without_api_yields` shows it without chance.
const REGRESSIONS: &[(Draw, &[u64])] = &[
    (Draw::First, &[35, 55, 219, 579, 682, 918, 1241, 1317, 1690, 6964]),
    (Draw::Second, &[2430, 4856]),
    (Draw::Fourth, &[204, 481, 3534, 5877, 8475, 8711, 9693, 49745]),
    (Draw::Sixth, &[299, 1431, 3547, 4753, 5126, 5465]),
];

/// Up to `EAGER` members claims are sent to everybody, beyond that they travel by rumour; in the last two most members are
/// heard of seldom.
const MEDIUM: [usize; 4] = [12, EAGER + 1, EAGER + 2, 24];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Each `of`-th seed, beginning with the `share`-th.
fn seeds(name: &str, default: u64, share: u64, of: u64) -> impl Iterator<Item = u64> {
    let from = number("OWNERSHIP_FROM").unwrap_or(1);
    (from..from + number(name).unwrap_or(default)).filter(move |seed| seed % of == share)
}

#[test]
fn seeds_that_failed_once() {
    for (draw, seeds) in REGRESSIONS {
        for seed in *seeds {
            schedule(*seed, None, 12, *draw);
        }
    }
}

/// By hand: `OWNERSHIP_SEED=35 cargo test -p ownership --test schedules -- --ignored one_seed`.
#[test]
#[ignore = "for a seed that failed"]
fn one_seed() {
    schedule(number("OWNERSHIP_SEED").unwrap_or(1), None, 12, Draw::Sixth);
}

/// By hand, before and after a change that is to change no behaviour: the digests of some seeds.
///
/// `OWNERSHIP_SEEDS=100 cargo test -p ownership --test schedules -- --ignored digests --nocapture`.
#[test]
#[ignore = "for comparison"]
fn digests() {
    let from = number("OWNERSHIP_FROM").unwrap_or(1);
    let print = |seed: u64, nodes: Option<usize>, draw: Draw| {
        let digest = schedule::digest(seed, nodes, 12, draw);
        let (actions, reports) = (digest.actions.finish(), digest.reports.finish());
        println!("{seed} {nodes:?} {draw:?} {actions:016x} {reports:016x}");
    };
    for seed in from..from + number("OWNERSHIP_SEEDS").unwrap_or(100) {
        print(
            seed,
            None,
            [Draw::First, Draw::Second, Draw::Third, Draw::Fourth, Draw::Fifth, Draw::Sixth]
                [usize::try_from(seed % 6).unwrap()],
        );
    }
    for seed in from..from + number("OWNERSHIP_MEDIUM").unwrap_or(8) {
        print(seed, Some(MEDIUM[usize::try_from(seed).unwrap() % MEDIUM.len()]), Draw::Third);
    }
}

macro_rules! shares {
    ($of:literal: $($share:literal $name:ident)*) => {
        $(
            #[test]
            fn $name() {
                for seed in seeds("OWNERSHIP_SEEDS", 10_000, $share, $of) {
                    schedule(seed, None, 12, Draw::Sixth);
                }
                for seed in seeds("OWNERSHIP_MEDIUM", 32, $share, $of) {
                    schedule(seed, Some(MEDIUM[usize::try_from(seed).unwrap() % MEDIUM.len()]), 10, Draw::Sixth);
                }
                for seed in seeds("OWNERSHIP_LARGE", 100, $share, $of) {
                    schedule(seed, Some(50), 10, Draw::Sixth);
                }
            }
        )*
    };
}

shares!(16: 0 random_00 1 random_01 2 random_02 3 random_03 4 random_04 5 random_05 6 random_06 7 random_07 8 random_08 9 random_09 10 random_10 11 random_11 12 random_12 13 random_13 14 random_14 15 random_15);
