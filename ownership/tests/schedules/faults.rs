//! The faults that a schedule draws from, and their repair.

use ownership::{Qualified, Stop};

use crate::schedule::{Draw, Schedule, ms};

impl Schedule {
    pub fn disturb(&mut self) {
        let node = self.node();
        let other = self.node();
        let cluster = &mut self.cluster;
        match cluster.rng.below(if self.draw == Draw::First { 17 } else { 22 }) {
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
            _ => {
                cluster.stop(node, Stop::Restart);
                cluster.kill_agent(node);
                cluster.start_agent(node);
            }
        }
        self.fault = self.fault.max(self.cluster.now);
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
