//! Who answers for a local address: one answer at a time, always one.
//!
//! The protocol between the agents as a pure state machine: no sockets, no clock, no randomness of its own. Events go
//! in, actions come out ([`Machine::handle`]); what the edge must do is in [the seam](#the-seam).
//!
//! | Module | Holds |
//! |---|---|
//! | [`machine`] | the state machine: everything below, tied together |
//! | [`event`] | what goes in, what comes out |
//! | [`time`], [`rng`], [`node`], [`link`] | time, randomness, names and hardware addresses, segments and places on them |
//! | [`order`] | the contract's order of nodes for an address |
//! | [`choice`] | the candidates for an address |
//! | [`membership`] | who is there: Leases and SWIM |
//! | [`claims`] | who claims what: versions, digests, pulls |
//! | [`probe`] | asking the link before claiming |
//! | [`envelope`] | authenticated datagrams |
//! | [`wire`] | the messages and their bytes |
//!
//! # States of an address, on one node
//!
//! ```text
//!            nobody has it, or its owner is gone           nobody answered, and we hear
//!   Idle ------------------------------> Waiting -> Probing ------------------------> Held
//!    ^  <------ somebody alive has it ------'----------'                               | |
//!    |                                                                                 | | offer, accept:
//!    |   Accepted <--- offer --- (owner) ; on go: Held without asking the link         | | out of the kernel, go
//!    '----------- unwanted, yielded, moved, link broken, lost from the kernel ---------'-'
//! ```
//!
//! # Timers
//!
//! | What | When |
//! |---|---|
//! | watch round: ping and link question to each watched owner | 100 ms |
//! | suspicion: both silent | 3 rounds; then everything is asked every 15 ms for 60 ms, helpers included |
//! | rank delay: nobody has it / under alarm | 300 ms / 100 ms per place in the order |
//! | probes: usual / under alarm / the owner's kernel lives but the address is silent | 3 / 5 / 12, each 10 ms ([`Config::probe_interval`]: 5 to 100 ms); decision as long after the last |
//! | a member asked what it holds | every 10 ms, for 100 ms |
//! | loser of a contention | 500 ms |
//! | look at an address of a silent agent | 250 ms (at most 1,000 looks a second) |
//! | contest: the stronger claimant asked / reminder to the weaker | every 20 ms for 150 ms / 100 ms |
//! | offer / go / void / taken back | every 20 ms for 150 ms / every 10 ms / 250 ms after accept / 300 ms after go |
//! | claims pulled that are newer by rumour | from 8 members per watch round; again after 1 s without an answer |
//! | SWIM period, direct wait, grace | 500 ms, 200 ms, 2 s + 0.5 s log2 n |
//! | carrier lost; told that we do not answer | 250 ms; 80 ms of checking |
//! | pause: a gap past the deadline | 500 ms; then 300 ms of listening |
//! | watches of the API stale | 10 s: no new claims; 30 s while others are current: hands over |
//!
//! # Why it holds
//!
//! Kernels answer, agents decide; so every argument is about who put an address into a kernel, and when.
//!
//! **A claim is never made against a living answer.** [`Action::Add`] comes from four places. (1) A claim after
//! probing: no answer to 3 (5, 12) questions, while another question of ours on the same link was answered within
//! 300 ms, so that our silence is not our own deafness. Any answer ends the attempt, unless a member with that MAC
//! says itself, authenticated, that it does not hold the address, or the MAC also answers for a free address (proxy
//! ARP), or the policy says so. A living owner is asked by gossip in the same moments and keeps the address if it
//! says one word. (2) A go, whose sender has removed the address before (it is sent after [`Action::Remove`] was
//! carried out), within 250 ms of our accept. (3) Taking back, 300 ms after the first go, when (2) is void: go was
//! sent after the accept was received, hence after it was sent. (4) Repair of our own claim, while some member
//! answered us within a second and no stronger claim is known. Two that probe at the same time see each other's
//! questions; the worse in order steps back for 500 ms.
//!
//! **At most one owner per connected link in the steady state.** Suppose two nodes hold an address and hear each
//! other. Each datagram carries version and digest, so each learns the other's claim in one exchange (the first
//! datagram after 300 ms of silence even names the addresses that both hold). Claims are totally ordered by (epoch,
//! order of choice). The weaker asks the stronger, gets an answer, and removes the address; the stronger reminds it
//! every 100 ms until it has. Who took over pings the lost owner every 100 ms, and a node that hears nobody pings
//! everybody in turn, so the first exchange comes within 100 ms of the link's return.
//!
//! **Epochs only grow.** A claim's epoch is one above the highest ever seen for the address (own, others', recalled,
//! of the state file, of forgotten addresses); a contest that gets no answer sets the rival's plus one, taking back adds two.
//! An adopted claim keeps its epoch, or takes the higher one that peers recall for this node.
//!
//! **No move without cause.** An address of a living owner is left alone: the stance on it is
//! `Leave` unless every claimant is alarmed (silent to ping and link, to the watcher and its helpers) or its agent is
//! silent, and even then the link's or its own answer ends the attempt. The owner offers it only when it is no
//! candidate any more, or rebalance was asked for. Silence of the agent alone, of gossip, or of the API server moves
//! nothing. An alarm is raised only by a node that is answered by others.
//!
//! **An owner that loses its right stops within a bound.** By a stronger claim: one exchange after contact (bounded by
//! 100 ms plus round trips). By its link: 250 ms without carrier, or 80 ms after it was told and nobody answered it.
//! By policy, exclusion, leaving: the exchange of three messages. With its agent dead: when its node dies (watches), or
//! the kernel's lifetime ends (contract: 300 s). With its whole node suspended: at the first exchange after it.
//!
//! **Somebody claims.** If an owner dies, three watch it; one survivor is enough for the alarm. Every candidate acts
//! after rank x 100 ms by itself, so a dead or unwilling heir delays and does not block.
//!
//! What is not covered: two nodes without gateway and without any client cannot tell a dead peer from their own
//! deafness; after 1 s they claim. While more than two watchers and heirs die at once, SWIM's bound (about 3 s)
//! applies. During packet loss above what probes bridge (5 of 5 lost, and every question to the owner), two may hold
//! an address until the next exchange. Behind a switch that carries no neighbour solicitations to groups, a later
//! choice of a large cluster may claim an IPv6 address before the rumour of its owner's claim has come, and the
//! two settle it in one exchange. An agent that is dead on a cut node lets its kernel answer after the return
//! of the link until the agent or the lifetime ends it.
//!
//! # The seam
//!
//! **Order.** Carry out actions in the order given and one after the other; [`Action::Add`] and [`Action::Remove`]
//! must be finished (acknowledged by netlink) before the next is begun, for what a later datagram says must be true.
//! If an add fails: [`Event::AddFailed`].
//!
//! **Time.** `CLOCK_BOOTTIME` in microseconds. Give [`Event::Tick`] at [`Machine::next_deadline`]; being late by
//! up to 5 ms costs only that, more than 500 ms counts as a pause; an edge that was busy with the machine's own actions
//! for so long says so ([`Machine::excuse`]). Probes have 10 ms each as a rule, so netlink and sockets must not block the loop; its
//! thread should not be shared with watches of the API.
//!
//! **Start.** In this order: [`Event::Kernel`] (marked VIPs on local links with epochs of the state file), [`Event::Link`]
//! for each interface, [`Event::Policy`], [`Event::Announcements`], [`Event::Selected`], [`Event::Excluded`]; then, as the
//! watches deliver, [`Event::Members`], every [`Event::Want`], [`Event::WantsComplete`], [`Event::Watches`].
//!
//! | Edge | Feeds | Does |
//! |---|---|---|
//! | UDP 7475, one socket, `IP_PKTINFO` not needed | [`Event::Datagram`] | [`Action::Send`]; errors are ignored and counted |
//! | `AF_PACKET` per local link: ARP, and ICMPv6 135/136 | [`Event::Seen`] for other hosts' frames; [`Frame::Answer`] only if addressed to our MAC | [`Action::Probe`], [`Action::Announce`]; while an IPv6 VIP is probed, its solicited-node group is joined |
//! | netlink | [`Event::Link`], [`Event::LinkGone`], [`Event::KernelLost`], [`Event::AddFailed`], [`Event::Kernel`] on overrun | [`Action::Add`], [`Action::Remove`], [`Action::Renew`], [`Action::ReadKernel`]; renewing lifetimes in time is the edge's |
//! | Leases | [`Event::Members`], always the whole list; `lease_alive` by the local clock since the last change that was seen | its own Lease: subnets, endpoints, MACs |
//! | Services, groups, slices | [`Event::Want`], [`Event::Unwant`] for local addresses with a link of ours only | - |
//! | own Node, LBNodeAgent | [`Event::Excluded`], [`Event::Selected`], [`Event::Policy`], [`Event::Announcements`] | - |
//! | Secret | [`Event::Keys`] | no machine before there is a key |
//! | state file | with [`Event::Kernel`] | written within 50 ms after [`Machine::version`] changed, after the actions |
//! | SIGTERM | [`Event::Stop`] | `Leaving`: end at [`Fact::Left`] or the grace period; `Restart`: end at once |
//! | people | - | [`Action::Tell`]: log, metric, event; [`Machine::snapshot`] and [`Machine::addresses`] for `/state` |

pub mod choice;
pub mod claims;
pub mod envelope;
pub mod event;
pub mod link;
pub mod machine;
pub mod membership;
pub mod node;
pub mod order;
pub mod probe;
pub mod rng;
pub mod time;
pub mod wire;

pub use choice::{Qualified, Want};
pub use envelope::{Keys, Refusal};
pub use event::{Action, Ask, ConflictPolicy, Event, Fact, Frame, ProbeResult, Stop, Why};
pub use link::{Link, LinkId, Peer, Place};
pub use machine::{Config, Machine, Snapshot};
pub use node::{BootId, Mac, NodeId};
pub use probe::Cause;
pub use time::Time;
pub use wire::{Epoch, Vital};
