//! Changes of the VIP guard, with a kernel of a few rules.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cluster::members::testing::at;
use crate::decide::guard::Off;
use crate::model::port::Protocol;

const ON: Guarding = Guarding::On(Rules::PortsAndTranslated);

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn ports(numbers: &[u16]) -> BTreeSet<Port> {
    numbers.iter().map(|number| Port { protocol: Protocol::Tcp, number: *number }).collect()
}

/// The sets of the kernel. A batch that removes what is not there is refused.
#[derive(Debug, Default, Clone)]
struct Kernel {
    rules: Option<Rules>,
    guarded: BTreeMap<IpAddr, u64>,
    open: BTreeSet<Opening>,
}

impl Kernel {
    fn apply(&mut self, change: &GuardChange, second: u64) -> Result<(), ()> {
        match change {
            GuardChange::Build(rules, openings) => {
                *self = Self {
                    rules: Some(*rules),
                    guarded: openings.addresses().map(|ip| (ip, second)).collect(),
                    open: openings.all().collect(),
                };
            }
            GuardChange::Remove => *self = Self::default(),
            GuardChange::Edit(edit) => {
                if self.rules.is_none() {
                    return Err(());
                }
                self.open.extend(edit.opened.iter().copied());
                for ip in &edit.guarded {
                    self.guarded.entry(*ip).or_insert(second);
                }
                let known = edit.unguarded.iter().all(|ip| self.guarded.remove(ip).is_some());
                if !known || !edit.closed.iter().all(|opening| self.open.remove(opening)) {
                    return Err(());
                }
                if let Some(renewed) = &edit.renewed {
                    self.guarded = renewed.iter().map(|ip| (*ip, second)).collect();
                }
            }
        }
        Ok(())
    }

    /// Drops what was not renewed for half a minute.
    fn pass_time(&mut self, second: u64) {
        self.guarded.retain(|_, since| second - *since < 30);
    }
}

/// A pass: both changes, with what the kernel makes of them.
fn pass(plan: &mut GuardPlan, kernel: &mut Kernel, second: u64) {
    for change in [GuardPlan::before, GuardPlan::after] {
        let Some(change) = change(plan, at(second)) else { continue };
        match kernel.apply(&change, second) {
            Ok(()) => plan.done(change, at(second)),
            Err(()) => plan.failed(at(second)),
        }
    }
}

#[test]
fn a_port_is_opened_before_and_closed_after() {
    let (mut plan, mut kernel) = (GuardPlan::default(), Kernel::default());
    plan.set_guarding(ON);
    plan.set(ip(1), Some(ports(&[80])));
    pass(&mut plan, &mut kernel, 0);
    plan.set(ip(1), Some(ports(&[81])));
    let before = plan.before(at(1)).unwrap();
    let port = |number| Opening { ip: ip(1), port: Port { protocol: Protocol::Tcp, number } };
    assert_eq!(before, GuardChange::Edit(Edit { opened: vec![port(81)], ..Edit::default() }));
    plan.done(before, at(1));
    let after = plan.after(at(1)).unwrap();
    assert_eq!(after, GuardChange::Edit(Edit { closed: vec![port(80)], ..Edit::default() }));
    plan.done(after, at(1));
    assert_eq!((plan.before(at(2)), plan.after(at(2))), (None, None));
}

#[test]
fn other_rules_are_built_without_closing_anything_first() {
    let (mut plan, mut kernel) = (GuardPlan::default(), Kernel::default());
    plan.set_guarding(ON);
    plan.set(ip(1), Some(ports(&[80])));
    plan.set(ip(2), Some(ports(&[53])));
    pass(&mut plan, &mut kernel, 0);
    plan.set(ip(1), Some(ports(&[81])));
    plan.set(ip(2), None);
    plan.set_guarding(Guarding::On(Rules::Ports));
    let Some(GuardChange::Build(Rules::Ports, openings)) = plan.before(at(1)) else { panic!() };
    assert_eq!((openings.of(ip(1)), openings.of(ip(2))), (Some(&ports(&[80, 81])), Some(&ports(&[53]))));
}

#[test]
fn addresses_are_renewed_in_time_and_an_undecided_node_touches_nothing() {
    let (mut plan, mut kernel) = (GuardPlan::default(), Kernel::default());
    plan.set(ip(1), Some(ports(&[80])));
    pass(&mut plan, &mut kernel, 0);
    assert!(kernel.rules.is_none());
    plan.set_guarding(ON);
    for second in 0..100 {
        pass(&mut plan, &mut kernel, second);
        kernel.pass_time(second);
        assert_eq!(kernel.guarded.len(), 1, "{second}");
    }
    plan.set_guarding(Guarding::Off(Off::OtherProxy));
    pass(&mut plan, &mut kernel, 100);
    assert!(kernel.rules.is_none());
    assert_eq!((plan.before(at(200)), plan.after(at(200)), plan.guarded()), (None, None, 0));
}

#[test]
fn what_an_earlier_run_left_is_replaced_or_removed() {
    let mut plan = GuardPlan::default();
    plan.set_guarding(Guarding::Off(Off::Disabled));
    assert_eq!((plan.before(at(0)), plan.after(at(0))), (None, Some(GuardChange::Remove)));
    plan.set_guarding(ON);
    assert_eq!(plan.before(at(0)), Some(GuardChange::Build(Rules::PortsAndTranslated, Openings::default())));
}

#[test]
fn after_failures_the_next_attempt_waits_longer_and_begins_anew() {
    let mut plan = GuardPlan::default();
    plan.set_guarding(ON);
    for (second, wait) in [(0, 1), (1, 2), (3, 4), (7, 8), (15, 16), (31, 30), (61, 30)] {
        assert!(matches!(plan.before(at(second)), Some(GuardChange::Build(..))), "{second}");
        plan.failed(at(second));
        assert_eq!(plan.before(at(second + wait - 1)), None);
    }
}

proptest! {
    /// Whatever changes, and whatever others do to our table: after a pass the kernel has what is desired, and a port
    /// that stays desired is open at every moment.
    #[test]
    fn the_kernel_follows(steps in prop::collection::vec(
        (0_u8..4, prop::option::of(prop::collection::btree_set(80_u16..84, 0..3)), 0_u64..40, any::<bool>(), any::<bool>()), 1..40,
    )) {
        let (mut plan, mut kernel) = (GuardPlan::default(), Kernel::default());
        let mut second = 0;
        plan.set_guarding(ON);
        for (last, wanted, later, flushed, ports_only) in steps {
            second += later;
            kernel.pass_time(second);
            if flushed {
                kernel = Kernel::default();
                plan.lost();
            }
            plan.set_guarding(Guarding::On(if ports_only { Rules::Ports } else { Rules::PortsAndTranslated }));
            let numbers = wanted.map(|numbers| numbers.into_iter().collect::<Vec<_>>());
            let (now, then) = (numbers.as_deref().map(ports), plan.desired.of(ip(last)).cloned());
            let stays = |port: &Port| then.iter().chain(&now).all(|ports| ports.contains(port)) && then.is_some();
            let staying: Vec<Opening> = now.iter().flatten().filter(|port| stays(port)).map(|port| Opening { ip: ip(last), port: *port }).collect();
            plan.set(ip(last), now.clone());
            for change in [GuardPlan::before, GuardPlan::after] {
                if let Some(change) = change(&plan, at(second)) {
                    // An address whose time ran out cannot be taken off: everything is built anew, a second later.
                    if kernel.apply(&change, second).is_ok() { plan.done(change, at(second)) } else { plan.failed(at(second)) }
                }
                prop_assert!(kernel.rules.is_none() || staying.iter().all(|opening| kernel.open.contains(opening)));
            }
            for _ in 0..2 {
                second += 2;
                pass(&mut plan, &mut kernel, second);
            }
            prop_assert_eq!(kernel.open.iter().copied().collect::<Vec<_>>(), plan.desired.all().collect::<Vec<_>>());
            prop_assert_eq!(kernel.guarded.keys().copied().collect::<Vec<_>>(), plan.desired.addresses().collect::<Vec<_>>());
        }
    }
}
