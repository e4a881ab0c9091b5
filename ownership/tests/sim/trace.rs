//! The trace of a run, shown when a test fails.

use std::fmt::Write as _;
use std::time::Duration;

use super::cluster::Cluster;

impl Cluster {
    pub fn note(&mut self, text: String) {
        let at = self.now.as_micros() - 1_000_000_000;
        self.trace.push_back(format!("{:>11.6} {text}", Duration::from_micros(at).as_secs_f64()));
        if self.trace.len() > 600 {
            self.trace.pop_front();
        }
    }

    pub fn fail(&self, why: &str) -> ! {
        self.described.set(true);
        panic!("{}\nseed {}: {why}", self.describe(), self.setup.seed);
    }

    /// What happened lately, and how things are.
    pub fn describe(&self) -> String {
        let mut text = format!("{:?}\n", self.setup);
        for line in &self.trace {
            let _ = writeln!(text, "{line}");
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let kernel: Vec<_> = node.kernel.iter().collect();
            let _ = writeln!(
                text,
                "node {number}: powered {} agent {} kernel {kernel:?}",
                node.powered,
                node.machine.is_some()
            );
            if let Some(machine) = &node.machine {
                let snapshot = machine.snapshot();
                let _ = writeln!(text, "    refused {:?}", snapshot.refused);
                for member in snapshot.members {
                    let _ = writeln!(text, "    {member:?}");
                }
            }
            for address in self.specs.keys() {
                let _ = writeln!(text, "    {:?}", node.machine.as_ref().and_then(|m| m.address(*address)));
            }
        }
        text
    }
}

/// A panic of the machine, or an assertion of a test, has a story too.
impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.described.get() {
            eprintln!("{}\nseed {}", self.describe(), self.setup.seed);
        }
    }
}
