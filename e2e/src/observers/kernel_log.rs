//! Changes of a host's addresses or routes, as its kernel reports them: in order, and including those that are over
//! before anyone could look.

use std::{
    io::{BufRead, BufReader},
    net::IpAddr,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    base::{
        error::{Doing, Result, unexpected},
        wait::eventually_blocking,
    },
    hosts::host::Host,
};

/// `ip` begins to listen within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Long enough to read two lines that the kernel reports together, on a machine that does other things too. It may be
/// long: a route that is withdrawn comes back with fewer next hops first, as one node after the other announces it.
const EXCHANGE: Duration = Duration::from_millis(500);

/// How `ip` begins a line about what is gone.
const GONE: &str = "Deleted";

/// One change.
#[derive(Clone, Debug)]
pub struct KernelChange {
    /// When it was read.
    pub at: Instant,
    /// As `ip -o monitor` writes it.
    pub text: String,
}

impl KernelChange {
    /// Whether something went.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.text.starts_with(GONE)
    }

    /// Whether it is about this address, or about the route to it alone.
    #[must_use]
    pub fn is_about(&self, address: IpAddr) -> bool {
        let bare = |word: &str| word.split('/').next().and_then(|word| word.parse::<IpAddr>().ok());
        self.text.split_whitespace().any(|word| bare(word) == Some(address))
    }

    fn next_hops(&self) -> usize {
        self.text.matches(" via ").count()
    }

    /// Whether it is about this interface.
    #[must_use]
    pub fn is_on(&self, interface: &str) -> bool {
        self.text.split_whitespace().any(|word| word == interface)
    }
}

/// Listens to a host's kernel until it is dropped.
#[derive(Debug)]
pub struct KernelLog {
    monitor: Child,
    changes: Arc<Mutex<Vec<KernelChange>>>,
}

impl Host {
    /// Listens to changes of addresses on all interfaces.
    ///
    /// # Errors
    /// The host is off.
    pub fn log_addresses(&self) -> Result<KernelLog> {
        KernelLog::start(self, "address")
    }

    /// Listens to changes of routes, those of multipath routes included.
    ///
    /// # Errors
    /// The host is off.
    pub fn log_routes(&self) -> Result<KernelLog> {
        KernelLog::start(self, "route")
    }
}

impl KernelLog {
    fn start(host: &Host, what: &str) -> Result<Self> {
        // Not by `Host::command`, between whose process and this one there would be another.
        let spawn = || Command::new("ip").args(["-o", "monitor", what]).stdout(Stdio::piped()).spawn();
        let mut monitor = host.in_network(spawn)?.doing(|| "start ip monitor".into())?;
        let output = monitor.stdout.take();
        let log = Self { monitor, changes: Arc::default() };
        let output = output.ok_or_else(|| unexpected("ip monitor", "no output"))?;
        let changes = Arc::clone(&log.changes);
        thread::spawn(move || read(output, &changes));
        log.listens()?;
        Ok(log)
    }

    /// Waits until `ip` has joined the kernel's groups.
    fn listens(&self) -> Result<()> {
        let (pid, table) = (self.monitor.id().to_string(), format!("/proc/{}/net/netlink", self.monitor.id()));
        eventually_blocking(PATIENCE, "ip monitor listening", || {
            let text = std::fs::read_to_string(&table).unwrap_or_default();
            // sk, Eth, Pid, Groups, ...
            let joined = text.lines().any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.get(2) == Some(&pid.as_str())
                    && words.get(3).is_some_and(|groups| !groups.trim_matches('0').is_empty())
            });
            if joined { Ok(()) } else { Err(text) }
        })
    }

    /// All changes so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<KernelChange> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The changes so far that are about these addresses.
    #[must_use]
    pub fn about(&self, addresses: &[IpAddr]) -> Vec<KernelChange> {
        let mut changes = self.so_far();
        changes.retain(|change| addresses.iter().any(|address| change.is_about(*address)));
        changes
    }

    /// When the route to an address was gone, or had not as many next hops as it should. Zebra exchanges an IPv6 route
    /// by taking it away and adding it in one go, even if the new one is the same: that does not count.
    #[must_use]
    pub fn interruptions(&self, address: IpAddr, next_hops: usize) -> Vec<KernelChange> {
        let changes = self.about(&[address]);
        let complete = |change: &KernelChange| !change.is_removal() && change.next_hops() == next_hops;
        let bad = |(place, change): &(usize, &KernelChange)| match changes.get(place + 1) {
            Some(next) if change.is_removal() => !complete(next) || next.at.duration_since(change.at) > EXCHANGE,
            _ => !complete(change),
        };
        changes.iter().enumerate().filter(bad).map(|(_, change)| change.clone()).collect()
    }

    /// When the route to an address was gone altogether. One that is exchanged for another counts as little as in
    /// [`Self::interruptions`].
    #[must_use]
    pub fn absences(&self, address: IpAddr) -> Vec<KernelChange> {
        let changes = self.about(&[address]);
        let gone = |(place, change): &(usize, &KernelChange)| {
            let next = changes.get(place + 1);
            let back = next.is_some_and(|next| !next.is_removal() && next.at.duration_since(change.at) <= EXCHANGE);
            change.is_removal() && !back
        };
        changes.iter().enumerate().filter(gone).map(|(_, change)| change.clone()).collect()
    }
}

impl Drop for KernelLog {
    fn drop(&mut self) {
        // It may have ended with its host.
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

fn read(output: ChildStdout, changes: &Mutex<Vec<KernelChange>>) {
    for text in BufReader::new(output).lines().map_while(std::result::Result::ok) {
        let change = KernelChange { at: Instant::now(), text };
        changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> KernelChange {
        KernelChange { at: Instant::now(), text: text.to_owned() }
    }

    #[test]
    fn a_change_is_about_whole_addresses_and_interfaces() {
        let [one, ten] = ["192.0.2.1", "192.0.2.10"].map(|address| address.parse::<IpAddr>().unwrap());
        let gone = change("Deleted 4: kube-lb0    inet 192.0.2.10/32 scope global kube-lb0\\       valid_lft forever");
        assert!(gone.is_removal() && gone.is_about(ten) && !gone.is_about(one));
        assert!(gone.is_on("kube-lb0") && !gone.is_on("kube"));
        let route = change("192.0.2.1 proto bgp metric 20 \\\tnexthop via 192.168.50.11 dev eth0 weight 1");
        assert!(!route.is_removal() && route.is_about(one));
    }

    #[test]
    fn a_route_that_is_exchanged_for_itself_was_never_gone() {
        let text = "2001:db8::1 proto bgp \\\tnexthop via fe80::1 dev eth0 \\\tnexthop via fe80::2 dev eth0";
        let log = |texts: &[String]| {
            let changes = texts.iter().map(|text| change(text)).collect::<Vec<_>>();
            let monitor = Command::new("true").spawn().unwrap();
            let log = KernelLog { monitor, changes: Arc::new(Mutex::new(changes)) };
            let address = "2001:db8::1".parse().unwrap();
            (log.interruptions(address, 2).len(), log.absences(address).len())
        };
        let (there, gone) = (text.to_owned(), format!("Deleted {text}"));
        let half = "2001:db8::1 proto bgp via fe80::1 dev eth0".to_owned();
        assert_eq!(log(&[gone.clone(), there.clone()]), (0, 0));
        assert_eq!(log(std::slice::from_ref(&gone)), (1, 1));
        assert_eq!(log(&[gone, half.clone(), there]), (2, 0));
        assert_eq!(log(&[half]), (1, 0));
    }
}
