//! The lines of the table: each event's description, goals, and the figures of other load balancers.

use std::time::Duration;

use crate::figures::Many;

/// The goal of an event: limits of its figures. `None` means no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Aim {
    /// The median of the longest times without an answer, in milliseconds.
    pub(crate) median: Option<u64>,
    /// The worst of them, in milliseconds.
    pub(crate) worst: Option<u64>,
    /// The time during which two hosts answered, in milliseconds.
    pub(crate) double: Option<u64>,
    /// The number of changes of the answering host.
    pub(crate) moves: Option<usize>,
}

impl Aim {
    /// Whether the figures are within the limits.
    pub(crate) fn met(&self, many: &Many) -> bool {
        let (median, worst) = many.median_and_worst(|figures| figures.longest);
        let (_, double) = many.median_and_worst(|figures| figures.double);
        let (_, moves) = many.median_and_worst(|figures| figures.moves);
        let within = |limit: Option<u64>, time| limit.is_none_or(|limit| time <= Duration::from_millis(limit));
        within(self.median, median)
            && within(self.worst, worst)
            && within(self.double, double)
            && self.moves.is_none_or(|limit| moves <= limit)
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Its name. The first line of an event has the event's name.
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) what: &'static str,
    pub(crate) aim: Aim,
    /// The goal in words.
    pub(crate) words: &'static str,
    /// What `PureLB` v0.17 and `MetalLB` 0.16.1 (native, L2) did in a lab of the same kind.
    pub(crate) peers: [&'static str; 2],
}

/// The line with this name.
pub(crate) fn find(name: &str) -> Line {
    let unknown = Line { name: "", what: "", aim: Aim { median: None, ..NOTHING }, words: "", peers: ["", ""] };
    LINES.iter().find(|line| line.name == name).copied().unwrap_or(unknown)
}

const NOTHING: Aim = Aim { median: None, worst: Some(0), double: Some(0), moves: Some(0) };
const FAILOVER: Aim = Aim { median: Some(500), worst: Some(999), double: Some(0), moves: None };
const SECOND: Aim = Aim { median: None, ..FAILOVER };
const RETURN: Aim = Aim { double: Some(200), ..NOTHING };
const PLANNED: Aim = Aim { median: None, worst: Some(10), double: Some(0), moves: Some(1) };

const NEVER: &str = "0; 0 double";
const CUT: &str = "median 500, worst under 1000; 0 double";
const UNDER: &str = "worst under 1000; 0 double";
const BACK: &str = "0, no move; double at most 200";
const MOVE: &str = "at most 10; 0 double";

const fn line(name: &'static str, what: &'static str, aim: Aim, words: &'static str) -> Line {
    Line { name, what, aim, words, peers: ["-", "-"] }
}

const fn beside(line: Line, peers: [&'static str; 2]) -> Line {
    Line { peers, ..line }
}

/// All lines, in the order of the table.
pub(crate) const LINES: [Line; 39] = [
    line("quiet", "nothing at all, 5 s", NOTHING, NEVER),
    beside(line("cut", "owner cut off", FAILOVER, CUT), ["6200, 12500", "5900, 5100"]),
    beside(line("cut-back", "  it comes back", RETURN, BACK), ["10 double", "4200 double, moves back"]),
    line("both", "owner and first heir cut off together", SECOND, UNDER),
    line("both-back", "  they come back", RETURN, BACK),
    line("unplug", "owner's cable pulled", FAILOVER, CUT),
    line("unplug-back", "  plugged in again", RETURN, BACK),
    line("ifdown", "owner's interface set down", FAILOVER, CUT),
    line("ifdown-back", "  set up again", RETURN, BACK),
    beside(line("kill", "owner's agent kill -9, restarts", NOTHING, NEVER), ["0", "6100"]),
    line("exclusion", "exclusion label on the owner", PLANNED, MOVE),
    line("exclusion-end", "  label removed", NOTHING, "0, no move"),
    line("selector", "LBNodeAgent no longer selects the owner", PLANNED, MOVE),
    line("selector-end", "  selects it again", NOTHING, "0, no move"),
    line("rebalance", "rebalance annotation", PLANNED, MOVE),
    line("successor", "successor dies in the middle of a move", SECOND, UNDER),
    line("apicut", "API server stopped, owner cut off", FAILOVER, CUT),
    line("poweroff", "owner powered off", FAILOVER, CUT),
    line("poweroff-back", "  powered on", RETURN, BACK),
    line("gossip", "owner's gossip lost 15 s, all else fine", NOTHING, NEVER),
    line("nogossip", "only gossip and API of the owner work", FAILOVER, CUT),
    line("nogossip-back", "  all works again", RETURN, BACK),
    beside(line("rollout", "rolling update of the DaemonSet", NOTHING, NEVER), ["5100", "220 double, moves twice"]),
    line("pause", "owner's agent stopped 20 s, continued", NOTHING, NEVER),
    line("deaf", "first heir deaf 20 s, can send", NOTHING, NEVER),
    line("before", "foreign host before us, since it left", FOREIGN, "at most 10000, not claimed before, event"),
    line(
        "after",
        "foreign host after us, 25 s",
        Aim { median: None, worst: None, double: None, moves: None },
        "defended once in 10 s, event",
    ),
    line(
        "loss",
        "20 % of all frames lost, 60 s",
        Aim { median: None, worst: Some(1000), double: Some(999), moves: Some(1) },
        "at most 1000, 1 move; double under 1000",
    ),
    beside(line("api", "API server stopped 60 s", NOTHING, NEVER), ["9800 double, 21900 (40 s)", "0 (40 s)"]),
    line(
        "gone",
        "owner's agent gone, lifetime 60 s",
        Aim { median: None, worst: Some(500), ..SECOND },
        "0 until the lifetime ends, then 500; 0 double",
    ),
    line(
        "all",
        "all nodes powered on, from the first agent ready",
        Aim { median: None, worst: Some(2000), ..SECOND },
        "at most 2000; 0 double",
    ),
    line(
        "all-double",
        "  from the power-on",
        Aim { median: None, worst: None, double: Some(0), moves: None },
        "0 double",
    ),
    beside(
        line(
            "routed",
            "routed address, node cut off, router's BFD at 300 ms x 3",
            ROUTED,
            "last failed connection under 1000",
        ),
        // Neither has BFD beside Calico's BIRD; MetalLB only with its own FRR in Calico's place.
        ["until the hold time ends", "until the hold time ends"],
    ),
    line("routed100", "  at 100 ms x 3", Aim { worst: Some(399), ..ROUTED }, "last failed connection under 400"),
    line("routedreboot", "  at 300 ms x 3, node shut down", ROUTED, "last failed connection under 1000"),
    line(
        "routedrollout",
        "  at 300 ms x 3, rolling update of both DaemonSets, 1000 connections a second",
        SEEN,
        "no reset of BGP, no failed connection",
    ),
    line("routedkill", "  at 2 s x 3, bfd-speaker kill -9", SEEN, "the same session"),
    line(
        "routedbusy",
        "  both processors taken, IPv4 at 300 ms x 3, IPv6 at 100 ms x 3",
        SEEN,
        "no false alarm, IPv6 at most 1",
    ),
    line(
        "routedhold",
        "  without BFD, hold time 180 s, 18 s of it",
        Aim { median: None, worst: None, double: None, moves: None },
        "none: a third fails until the hold time ends",
    ),
];

const ROUTED: Aim = Aim { median: None, worst: Some(999), double: None, moves: None };

/// What the note says decides.
const SEEN: Aim = Aim { median: None, worst: None, double: None, moves: None };

const FOREIGN: Aim = Aim { median: None, worst: Some(10_000), double: None, moves: None };
