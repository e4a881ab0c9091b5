//! The VIP guard: what it knows of the kernel and of kube-proxy. The agent's task tells it what is to be open, and when to
//! look.

use std::time::Duration;

use runtime::BootTime;

use crate::decide::after_boot::AfterBoot;
use crate::decide::guard::Off;
use crate::decide::kube_proxy::{Presence, Signs};
use crate::decide::proxy_life::Life;
use crate::decide::proxy_rules::{RulesSeen, SECOND_LOOK};
use crate::kernel::packet_filter::PacketFilter;
use crate::kube_proxy::task::{self, Looks, Ports};
use crate::model::port::Opening;
use crate::model::service_proxy::KubeProxy;
use crate::plan::guard::GuardPlan;
use crate::report::state::GuardEntry;

/// The shortest time between two looks at our table and at kube-proxy's rules. Whoever writes rules often, often writes
/// many.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// For how many ports rules of kube-proxy are looked for at once.
const PORTS_AT_ONCE: usize = 3;

/// The VIP guard of this node.
#[derive(Debug)]
pub struct Guard {
    /// What is to be guarded, and what the kernel has.
    pub plan: GuardPlan,
    /// The kernel.
    pub filter: PacketFilter,
    /// Whether kube-proxy is here.
    pub presence: Presence,
    /// Whether its rules are.
    pub rules: RulesSeen,
    /// Whether it has died.
    pub life: Life,
    /// Whether routed addresses wait for it.
    pub boot: AfterBoot,
    /// Why the node does not guard, as it was reported.
    pub reported: Option<Off>,
    /// That the kernel takes no rules was reported.
    pub refused: bool,
    /// When it was last looked at rules.
    looked: BootTime,
    /// Some rules have changed since then.
    changed: bool,
    /// How many ports were looked at: each look takes others.
    turn: usize,
    looks: Looks,
}

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// kube-proxy's ports were looked at.
    Signs,
    /// Rules of `nf_tables` have changed.
    Rules,
}

/// What is looked at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Our table and kube-proxy's rules.
    Changed,
    /// kube-proxy's rules, which were missed.
    Again,
}

impl Guard {
    /// Begins to look at kube-proxy; needs a tokio runtime.
    #[must_use]
    pub fn start(ports: Ports, now: BootTime) -> Self {
        Self {
            plan: GuardPlan::default(),
            filter: PacketFilter::open(),
            presence: Presence::new(now),
            rules: RulesSeen::default(),
            life: Life::default(),
            boot: AfterBoot::new(now),
            reported: None,
            refused: false,
            looked: now,
            changed: false,
            turn: 0,
            looks: task::start(ports),
        }
    }

    /// Waits for something to look at.
    pub async fn wait(&mut self) -> News {
        tokio::select! {
            () = self.looks.next() => News::Signs,
            () = self.filter.changed() => News::Rules,
        }
    }

    /// What was last found on kube-proxy's ports.
    pub fn signs(&mut self) -> Signs {
        self.looks.signs()
    }

    /// Takes over that some rules have changed.
    pub fn note_changed_rules(&mut self) {
        self.filter.drain();
        self.changed = true;
    }

    /// What is to be looked at now, if anything.
    pub fn begin_look(&mut self, now: BootTime) -> Option<Look> {
        let passed = now.since(self.looked);
        let look = if self.changed && passed >= BETWEEN_LOOKS {
            Look::Changed
        } else if self.rules.is_in_doubt() && passed >= SECOND_LOOK {
            Look::Again
        } else {
            return None;
        };
        (self.looked, self.changed) = (now, false);
        Some(look)
    }

    /// Looks at kube-proxy's ports now: what it says is needed.
    pub fn ask(&self) {
        self.looks.ask();
    }

    /// Some ports that are to be open: at each call others.
    pub fn some_ports(&mut self) -> Vec<Opening> {
        let openings = self.plan.desired();
        let turn = self.turn % openings.all().count().max(1);
        self.turn = self.turn.wrapping_add(PORTS_AT_ONCE);
        openings.all().skip(turn).chain(openings.all().take(turn)).take(PORTS_AT_ONCE).collect()
    }

    /// What `/state` shows.
    #[must_use]
    pub fn entry(&self) -> GuardEntry {
        GuardEntry {
            addresses: self.plan.guarded(),
            kube_proxy: match self.presence.answer() {
                KubeProxy::Unknown => "unknown",
                KubeProxy::Here(mode) => mode.name(),
                KubeProxy::Gone => "gone",
            },
            proxy_rules_gone: self.rules.are_gone(),
        }
    }
}
