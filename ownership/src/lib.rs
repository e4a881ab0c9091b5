//! The protocol by which the nodes agree who answers for a local address: at most one node at a time, and always one.
//!
//! The crate is a pure state machine, without sockets, clock or randomness of its own. Events go in, actions come out
//! ([`Machine::handle`]). [The seam](#the-seam) says what the edge must do.
//!
//! | Module | Holds |
//! |---|---|
//! | [`machine`] | the machine: hands each event to the part that it concerns |
//! | [`address`] | one state machine per address: probing, claiming, disputes, planned moves |
//! | [`this_node`] | this node's configuration, what it may do, and its start |
//! | [`claims`] | who claims what: versions, digests, pulls |
//! | [`detector`] | failure detection per member and link; whether this node hears |
//! | [`membership`] | who is there: Leases and SWIM |
//! | [`io`] | events, actions, and what is reported to people |
//! | [`session`] | authenticated datagrams |
//! | [`wire`] | the frames and their bytes |
//! | [`model`] | time, randomness, nodes, links, the order of nodes, what is to be served |
//!
//! Imports run one way: a module imports only modules below it in this table.
//!
//! The states of an address and their transitions are in [`address`], module `state`.
//!
//! # Timers
//!
//! | What | When |
//! |---|---|
//! | round of the detector: ping to each watched member | 100 ms ([`FailureDetection`]: 50 or 200 ms) |
//! | link question to it: pings cross the link and are answered, or it is given up / else | 2 s / 100 ms |
//! | an alarm is said again by those who raised it, as long as it stands | in the next two rounds |
//! | suspicion: both silent since the last answer | 235 ms (140 or 985 ms); then everything is asked every 15 ms for 60 ms, helpers included; meanwhile the first heir asks the link, if it watches the member itself and the link has room |
//! | delay per rank: nobody has it / under alarm | 300 ms / 100 ms per place in the order |
//! | probes: usual / under alarm / the owner's kernel lives but the address is silent | 3 / 5 / 12, each 10 ms ([`Config::probe_interval`]: 5 to 100 ms); decision as long after the last |
//! | a member asked what it holds | every 10 ms, for 100 ms |
//! | its hardware address alone, if it does not say / given up | after 10, 30, 70, 150, 310 ms / 100 ms under alarm, else 600 ms |
//! | loser of a contention | 500 ms; with a member once in 3 s, else it asks until 20 ms after the last question of that member, at most 500 ms |
//! | questions before a claim | the last one at most 120 ms before it, else one more |
//! | a host that did not answer for a free address, in two looks, is not asked again | 10 s |
//! | look at an address of a silent agent / that `announcing-*` gives to a member of another version | 250 ms / 5 s |
//! | gateways, and hosts that asked for an address in the last day, are asked from it, at most 20 | with its first two announcements; a tenth of [`Config::frames_per_second`] for each of the two kinds |
//! | further looks at addresses that this node does not get, all together | 10 questions a second and link |
//! | probes and announcements of first looks and takeovers | 1,400 a second and link, seven tenths of [`Config::frames_per_second`] |
//! | probes while the owner is only suspected | 200 a second and link, a tenth |
//! | witnesses asked, none of whom has answered for 1 s | every 400 ms |
//! | kernel of a silent agent with a weaker claim asked | every second, 10 questions a second and link in turn; its answer ends the claim of this node, unless the member is under alarm |
//! | everything on a link is announced because its hardware address changed | every 3 s at most |
//! | a kernel answers whose agent speaks another version, and nobody living is named | counts for 2 s |
//! | claimants of an address that this kernel has from somebody else are told, and 16 others in turn / confirm / yield | every 500 ms / 1 s later, every 100 ms / at the second statement, then 5 s of waiting |
//! | contest: the stronger claimant asked / reminder to the weaker | every 20 ms for 150 ms / 100 ms |
//! | offer / go / void / taken back | every 20 ms for 150 ms / every 10 ms / 250 ms after accept / 300 ms after go |
//! | claims pulled that are newer by rumour | from 8 members per watch round; again after 1 s without an answer |
//! | SWIM period, direct wait, grace | 500 ms, 200 ms, 2 s + 0.5 s log2 n |
//! | carrier lost; another member says that this node does not answer | 250 ms; 80 ms of checking |
//! | pause: a gap past the deadline | 500 ms; then 300 ms of listening |
//! | watches of the API stale | 10 s: no new claims, but takes over from an owner that is gone if all others are stale too; 30 s while others are current: hands over |
//!
//! # Why it holds
//!
//! An address is answered by the kernel of the node that has it; agents only decide who has it. So every argument is
//! about who puts an address into a kernel, and when. Each claim names the tests that check it: `schedules` stands for
//! `Schedule::check` and `Schedule::peace` in `tests/schedules`, which run after every 50 ms and at the end of each
//! random schedule; other names are tests in `tests/simulation`.
//!
//! **A claim is never made against a living answer.** [`Action::Add`] comes from four places.
//! 1. A claim after probing (`Step::probes_unanswered`). No answer came to 3 (5, 12) probes, while another question of
//!    this node on the same link was answered within 300 ms; so the silence is not this node's own deafness. Any answer
//!    ends the attempt, with four exceptions: a member with that MAC says itself, authenticated, that it knows nothing of
//!    the address or has it as a route only; its agent cannot be asked, and its kernel does not have the address
//!    (`address::unasked`: all claims of a silent agent are known, or another living member is named where the agent
//!    speaks another version); the MAC also answers for a free address (proxy ARP); the policy says so. A living owner is
//!    asked by gossip at the same time and keeps the address if it says that it claims it.
//! 2. A go (`Step::go`). The sender has removed the address before, because it sends go after [`Action::Remove`] was
//!    carried out; and the go is within 250 ms of the accept.
//! 3. Taking back (`Step::take_back`), 300 ms after the first go, when (2) is void: go was sent after the accept was
//!    received, hence after it was sent.
//! 4. Repair of this node's own claim (`Step::kernel_lost`), if some member answered within a second and no stronger
//!    claim is known.
//!
//! Two nodes that probe at the same time see each other's questions; the worse in order steps back for 500 ms, or asks
//! longer than the other. A look at the kernel of a silent agent, which waits long for an answer, asks once more before it
//! claims, and an alarm begins it anew: another node may have claimed meanwhile, and where gossip is blocked only the link
//! says so. An announcement of the address counts as an answer.
//! *Checked by `all_power_on_together` (no two answers ever), `a_deaf_node_steals_nothing`, `foreign_host_before_us`,
//! `case_05_proxy_arp_is_no_foreign_host`, `gossip_is_blocked_everywhere_and_the_owner_dies`, `a_kernel_that_answers_for_what_it_does_not_hold`, and the bound 0 on two
//! answers in most rows.*
//!
//! **What a member's kernel has from somebody else is not claimed, and a claim to it ends.** The claimer asks the member
//! whose MAC answers. A member that hears of a claim to such an address says so unasked, and the claimant yields when the
//! member repeats it a second later: two hosts would answer for ever. The other members are told too, and ask before they
//! claim: a switch may not carry their questions on the link, and `skip-ipv6-dad` sends none. *Checked by `case_01_...` and `case_03_...` in
//! `tests/simulation/holders.rs`, and by `schedules` (`YIELDED`).*
//!
//! **Members of another version.** They cannot be asked and take no part in claims. Their Leases show that they live, and
//! ARP that their nodes do: the detector watches their own addresses, and an address that `announcing-*` gives to one of
//! them is claimed only if its kernel does not answer for it, asked by unicast as well. *Checked by `tests/simulation/versions.rs`, and by
//! `Cluster::check_earlier` at every address that is added in any test.*
//!
//! **At most one owner per connected link in the steady state.** Suppose two nodes hold an address and hear each other.
//! Each datagram carries version and digest, so each learns the other's claim in one exchange; the first datagram after
//! 300 ms of silence even names the addresses that both hold. Claims are totally ordered by (epoch, order of choice).
//! The weaker claimant asks the stronger one, gets an answer, and removes the address; the stronger one reminds it every
//! 100 ms until it has. Agents that restart without an API server know each other by their state files. A node that took over pings the lost owner every 100 ms, and a node that hears nobody pings
//! everybody in turn; so the first exchange comes within 100 ms of the link's return.
//! *Checked by `schedules` (`SETTLED`: no two answers of nodes that hear each other 1.2 s after the last fault),
//! `cut_node_and_its_return` (200 ms), `an_agent_that_starts_without_api_yields`.*
//!
//! **Epochs only grow.** The epoch of a claim is one above the highest ever seen for the address: of this node, of
//! others, of a former boot, of the state file, of forgotten addresses. A contest without an answer sets the rival's plus
//! one, taking back adds two. An adopted claim keeps its epoch, or takes the higher one that peers know of this node.
//! *Checked by `Cluster::check_epoch` in `tests/sim`, at every address that is added in any test.*
//!
//! **No move without cause.** An address of a living owner is left alone: `Step::decide` gives a claim only if every
//! claimant is under alarm (silent to ping and link, for its watcher and the helpers) or its agent is silent, and even
//! then an answer on the link or of the owner itself ends the attempt. The owner offers its address only if it is no
//! candidate any more, or rebalance was asked for. Silence of the agent alone, of gossip, or of the API server moves
//! nothing. Only a node that is answered by others raises an alarm. While this node suspects a claimant it may ask the
//! link, but the claim waits for the alarm (`Step::probes_unanswered`).
//! *Checked by `schedules` (`QUIET`: without a fault for 9 s nothing changes), `agent_killed_and_restarted`,
//! `rolling_update`, `api_server_stopped`, `gossip_network_fails`, `gossip_is_blocked_everywhere`,
//! `a_fifth_of_all_packets_lost`.*
//!
//! **An owner that loses its right stops within a bound.** By a stronger claim: one exchange after contact (100 ms plus
//! round trips). By its link: 250 ms without carrier, or 80 ms after another member said that it does not answer. By
//! policy, exclusion, leaving: the exchange of three frames. With its agent dead: when its node dies (the detector of
//! others), or the kernel's lifetime ends (contract: 300 s). With its whole node suspended: at the first exchange after.
//! *Checked by `address_network_fails`, `cable_pulled`, `planned_moves` (10 ms), `lifetime_ends_after_the_agent`,
//! `one_node_stale_hands_over`.*
//!
//! **Somebody claims.** If an owner dies, three nodes watch it; one survivor is enough for the alarm. Every candidate
//! acts after rank x 100 ms by itself, so a dead or unwilling heir delays and does not block.
//! *Checked by `schedules` (`peace`: exactly one answer for each address that is wanted), `power_off_with_five_nodes`,
//! `owner_and_first_heir`, `the_successor_dies_in_the_middle`, each within a second.*
//!
//! **A node does not flood a link, whatever is broken.** Repeated looks and takeovers have budgets (`address::budget`); who
//! hears nothing asks only witnesses, ever less often; a watched member is asked on the link only when its pings do not
//! show the same. *Checked by `tests/simulation/frames.rs`.*
//!
//! **A busy node claims nothing that it has not asked for long enough.** Its answers may be late as it is itself: if it was
//! woken late in the last second, it waits as much longer for every answer, once for each attempt; so do
//! the suspicion of members, the check of a link and the contest with a stronger claim. *Checked by
//! `tests/simulation/busy.rs`.*
//!
//! **A switch that answers from its cache keeps nobody from taking over what is dead.** An answer of a member that cannot be
//! asked counts only if its hardware address alone, asked by unicast, answers too. *Checked by
//! `a_switch_that_answers_for_a_dead_node`.*
//!
//! **A silent agent's kernel keeps what it answers for.** Its answers may be slow, and may come after a claim: then the
//! claim ends. *Checked by `tests/simulation/silent.rs`.*
//!
//! What is not covered: two nodes without gateway and without any client cannot tell a dead peer from their own
//! deafness; after 1 s they claim. If more than two watchers and heirs die at once, SWIM's bound (about 3 s) applies.
//! During packet loss above what probes bridge (5 of 5 lost, and every question to the owner), two nodes may hold an
//! address until the next exchange. Behind a switch that carries no neighbour solicitations to groups, a later choice of
//! a large cluster may claim an IPv6 address before the rumour of its owner's claim has come; the two settle it in one
//! exchange. A kernel whose agent is dead answers after the return of its link beside the node that took over, until that node
//! has asked it: about a second, and 0.1 s for each address that it asks for. If that node's agent was restarted meanwhile
//! and knows nothing of the other's claim, both answer until the agent or the lifetime ends it. A kernel whose agent is dead
//! loses its addresses, and both answer, if it answers questions to everybody and none to its hardware address alone (a
//! filter on the way): it looks like a switch that answers from its cache for a dead node.
//!
//! # The seam
//!
//! **Order.** Carry out actions in the order given, one after the other; [`Action::Add`] and [`Action::Remove`]
//! must be finished (acknowledged by netlink) before the next is begun: what a later datagram says must be true.
//! If an add fails: [`Event::AddFailed`].
//!
//! **Time.** `CLOCK_BOOTTIME` in microseconds. Give [`Event::Tick`] at [`Machine::next_deadline`]; being late by
//! up to 5 ms costs only that, more than 500 ms counts as a pause; an edge that was busy with the machine's own actions
//! for so long says so ([`Machine::excuse`]). One that was woken late says by how much ([`Machine::ran_late`]). What has arrived by then is given first and
//! together ([`Machine::handle_all`]), so that an answer that is there counts before the deadline for it. Probes have 10 ms each as a rule, so netlink and sockets must not block the loop; its
//! thread should not be shared with watches of the API.
//!
//! **Start.** In this order: [`Event::Kernel`] (marked VIPs on local links with epochs of the state file), [`Event::KernelHolds`], [`Event::Link`]
//! for each interface, [`Event::Remembered`], [`Event::Policy`], [`Event::FailureDetection`], [`Event::Announcements`], [`Event::Selected`], [`Event::Excluded`]; then, as the
//! watches deliver, [`Event::Members`], every [`Event::ApplyAddress`], [`Event::AddressesListed`], [`Event::Watches`].
//!
//! | Edge | Events | Actions |
//! |---|---|---|
//! | UDP 7475, one socket, `IP_PKTINFO` not needed | [`Event::Datagram`] | [`Action::Send`]; errors are ignored and counted |
//! | `AF_PACKET` per local link: ARP, and ICMPv6 135/136 | [`Event::Seen`] for other hosts' frames; [`NeighborFrame::Reply`] only if addressed to our MAC | [`Action::Probe`], [`Action::Announce`], [`Action::Introduce`]; while an IPv6 VIP is probed, its solicited-node group is joined |
//! | netlink | [`Event::Link`], [`Event::LinkGone`], [`Event::KernelLost`], [`Event::AddFailed`], [`Event::Kernel`] on overrun, [`Event::KernelHolds`] | [`Action::Add`], [`Action::Remove`], [`Action::Renew`], [`Action::ReadKernel`]; renewing lifetimes in time is the edge's |
//! | Leases | [`Event::Members`], always the whole list; `lease_alive` by the local clock since the last change that was seen | its own Lease: subnets, endpoints, MACs, [`wire::VERSION`] |
//! | Services, groups, slices | [`Event::ApplyAddress`], [`Event::DeleteAddress`] for local addresses with a link of ours only | the annotations `announcing-*` |
//! | own Node, LBNodeAgent | [`Event::Excluded`], [`Event::Selected`], [`Event::Policy`], [`Event::FailureDetection`], [`Event::Announcements`] | - |
//! | Secret | [`Event::Keys`] | no machine before there is a key |
//! | state files | with [`Event::Kernel`]; [`Event::Remembered`] | claims are written within 50 ms after [`Machine::version`] changed, after the actions; the members when their list changes |
//! | SIGTERM | [`Event::Stop`] | `Leaving`: end at [`Notification::Left`] or the grace period; `Restart`: end at once |
//! | people | - | [`Action::Notify`]: log, metric, event; [`Machine::snapshot`] and [`Machine::addresses`] for `/state` |

pub mod address;
pub mod claims;
pub mod detector;
pub mod io;
pub mod machine;
pub mod membership;
pub mod model;
pub mod session;
pub mod this_node;
pub mod wire;

pub use io::{
    Action, ClaimReason, ConflictPolicy, Event, FailureDetection, KernelHolding, NeighborFrame, Notification,
    ProbeKind, ProbeResult, ReleaseReason, Stop,
};
pub use machine::{Config, Machine, Snapshot};
pub use model::link::{InterfaceAddress, Link, LinkId, Peer};
pub use model::node::{BootId, Mac, NodeId};
pub use model::order;
pub use model::spec::{AddressSpec, Qualified};
pub use model::time::Time;
pub use session::{Keys, Refusal};
pub use wire::{Epoch, Liveness};
