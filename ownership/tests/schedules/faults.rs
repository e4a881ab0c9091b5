//! The faults that a schedule draws from, and their repair.

use ownership::{KernelHolding, Qualified, Stop};

use crate::schedule::{Draw, Schedule, ms};

impl Schedule {
    pub fn disturb(&mut self) {
        let node = self.node();
        let other = self.node();
        let cluster = &mut self.cluster;
        let kinds = match self.draw {
            Draw::First => 17,
            Draw::Second | Draw::Third => 22,
            Draw::Fourth => 27,
            Draw::Fifth | Draw::Sixth => 29,
        };
        match cluster.rng.below(kinds) {
            0 => cluster.cut(node),
            1 | 2 => cluster.heal(node),
            3 => cluster.kill_agent(node),
            4 | 5 => cluster.start_agent(node),
            6 => cluster.power_off(node),
            7 => {
                if !cluster.nodes[node].powered {
                    cluster.power_on(node);
                }
            }
            8 => {
                let length = ms(u64::try_from(cluster.rng.below(6000)).unwrap());
                cluster.pause(node, length);
                self.fault = self.fault.max(cluster.now + length);
                return;
            }
            9 => {
                let (a, b) = (cluster.port(node, 0), cluster.port(other, 0));
                cluster.change(&format!("one way {node} -> {other} blocked"), |net| {
                    net.blocked.insert((a, b));
                });
            }
            10 => {
                let loss = [0, 50, 200][cluster.rng.below(3)];
                cluster.change(&format!("loss {loss}"), |net| net.loss = loss);
                self.lossy |= loss > 0;
            }
            11 => {
                let api = !cluster.api;
                cluster.set_api(api);
            }
            12 => {
                let excluded = !cluster.nodes[node].excluded;
                cluster.exclude(node, excluded);
            }
            13 => {
                let number = cluster.rng.below(6);
                if cluster.rng.below(3) == 0 {
                    cluster.stop_serving(cluster.vip(number))
                } else {
                    cluster.serve(cluster.vip(number), Qualified::All, cluster.now.as_micros())
                }
            }
            14 => {
                let carrier = !cluster.nodes[node].carrier;
                cluster.set_carrier(node, carrier);
            }
            15 => {
                let port = cluster.port(node, 0);
                cluster.change(&format!("{node} is deaf"), |net| {
                    net.deaf.insert(port);
                });
            }
            16 => {
                let port = cluster.port(node, 0);
                cluster.change(&format!("{node} is mute"), |net| {
                    net.mute.insert(port);
                });
            }
            17 => {
                let gone_first = cluster.rng.below(2) == 0;
                cluster.move_link(node, gone_first);
            }
            18 => cluster.set_gateway(!cluster.hosts[1].up),
            19 => {
                let number = cluster.rng.below(6);
                let address = cluster.vip(number);
                if cluster.nodes[node].kernel.contains(&address) && cluster.knows(node, address) {
                    cluster.delete_by_hand(node, address);
                }
            }
            20 => cluster.set_refusing(node, !cluster.nodes[node].refuses),
            21 => {
                cluster.stop(node, Stop::Restart);
                cluster.kill_agent(node);
                cluster.start_agent(node);
            }
            kind => self.disturb_members(kind, node),
        }
        self.fault = self.fault.max(self.cluster.now);
    }

    /// Agents of the earlier release, and what kernels have or answer for beside the agents' addresses.
    fn disturb_members(&mut self, kind: usize, node: usize) {
        let cluster = &mut self.cluster;
        match kind {
            22 => cluster.downgrade(node),
            23 => cluster.upgrade(node),
            24 => {
                // Only one host, or two of them answer whatever the agents do.
                let number = cluster.rng.below(6);
                let address = cluster.vip(number);
                if cluster.nodes.iter().all(|node| node.holdings.is_empty()) {
                    cluster.hold(node, address, KernelHolding::Foreign);
                }
            }
            25 => {
                for address in cluster.nodes[node].holdings.clone().into_keys() {
                    cluster.hold_no_more(node, address);
                }
            }
            27 => cluster.set_busy(node, true),
            28 => cluster.set_busy(node, false),
            _ => {
                let addresses: Vec<_> = (0..6).map(|number| cluster.vip(number)).collect();
                cluster.nodes[node].ipvs.extend(addresses);
            }
        }
    }

    pub fn repair(&mut self) {
        let cluster = &mut self.cluster;
        cluster.change("everything is repaired", |net| {
            net.blocked.clear();
            net.loss = 0;
        });
        if !cluster.api {
            cluster.set_api(true);
        }
        if self.draw != Draw::First {
            cluster.set_gateway(true);
        }
        for node in 0..cluster.nodes.len() {
            for address in cluster.nodes[node].holdings.clone().into_keys() {
                cluster.hold_no_more(node, address);
            }
            cluster.nodes[node].ipvs.clear();
            cluster.upgrade(node);
            cluster.set_busy(node, false);
            cluster.heal(node);
            cluster.set_refusing(node, false);
            if !cluster.nodes[node].carrier {
                cluster.set_carrier(node, true);
            }
            if cluster.nodes[node].powered { cluster.start_agent(node) } else { cluster.power_on(node) }
        }
        self.lossy = false;
        self.fault = self.fault.max(self.cluster.now);
    }
}
