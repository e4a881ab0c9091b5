//! The series of announced addresses.
//!
//! There is one for each address and Service, so there may be very many. They are made when they are read: an
//! object for each of them would need more memory than everything else that is known of the address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::cluster::service::ServiceName;

const NAME: &str = "purelb_lbnodeagent_announced";
const HELP: &str = "1 for every address that this node announces";

#[derive(Debug, Default)]
struct Known {
    node: String,
    users: BTreeMap<IpAddr, Box<[ServiceName]>>,
}

/// The announced addresses and the Services that use them. Clones show the same.
#[derive(Debug, Clone)]
pub struct Announced {
    desc: Desc,
    known: Arc<Mutex<Known>>,
}

impl Announced {
    /// Without any address.
    ///
    /// # Errors
    ///
    /// Never, because the names are valid.
    pub(super) fn new() -> prometheus::Result<Self> {
        let labels = ["service", "node", "ip"].map(str::to_owned).to_vec();
        let desc = Desc::new(NAME.to_owned(), HELP.to_owned(), labels, HashMap::new())?;
        Ok(Self { desc, known: Arc::default() })
    }

    /// Sets the label `node`.
    pub fn set_node(&self, node: &str) {
        node.clone_into(&mut self.known().node);
    }

    /// Sets the Services for which the address is announced; without any it is not announced.
    pub fn set(&self, ip: IpAddr, users: Vec<ServiceName>) {
        if users.is_empty() {
            self.known().users.remove(&ip);
        } else {
            self.known().users.insert(ip, users.into());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Announced {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let known = self.known();
        let series = known.users.iter().flat_map(|(ip, users)| users.iter().map(|user| (*ip, user)));
        let metrics: Vec<Metric> = series
            .map(|(ip, user)| {
                let labels =
                    [("ip", ip.to_string()), ("node", known.node.clone()), ("service", user.to_string())].map(label);
                let mut gauge = Gauge::default();
                gauge.set_value(1.0);
                let mut metric = Metric::from_label(labels.to_vec());
                metric.set_gauge(gauge);
                metric
            })
            .collect();
        if metrics.is_empty() {
            return Vec::new();
        }
        let mut family = MetricFamily::default();
        family.set_name(NAME.to_owned());
        family.set_help(HELP.to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics);
        vec![family]
    }
}

fn label((name, value): (&str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;

    #[test]
    fn one_series_for_each_address_and_service() {
        let (registry, announced) = (Registry::new(), Announced::new().unwrap());
        registry.register(Box::new(announced.clone())).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(text(), "");
        announced.set_node("n1");
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        announced.set(ip, ["a", "b"].map(|name| ServiceName::new("shop", name)).to_vec());
        let line = |name: &str| format!("{NAME}{{ip=\"192.0.2.1\",node=\"n1\",service=\"shop/{name}\"}} 1\n");
        assert!(text().ends_with(&format!("{}{}", line("a"), line("b"))), "{}", text());
        announced.set(ip, vec![ServiceName::new("shop", "b")]);
        assert!(!text().contains(&line("a")) && text().contains(&line("b")));
        announced.set(ip, Vec::new());
        assert_eq!(text(), "");
    }
}
