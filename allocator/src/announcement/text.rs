//! Why nobody announces an address, as a sentence: what, where, what to do.

use std::collections::BTreeMap;
use std::fmt;

use super::decision::{Cause, Finding, Obstacle};

/// The most nodes or networks that a sentence names.
const LISTED: usize = 5;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nobody announces {}: ", self.address)?;
        match &self.cause {
            Cause::NoNodeInSubnet => self.no_node(f)?,
            Cause::NoEndpoint => f.write_str(
                "externalTrafficPolicy is Local, and the Service has no ready endpoint of this family on any node. Check its Pods, or set the policy to Cluster",
            )?,
            Cause::EndpointsElsewhere(obstacles) => {
                f.write_str("externalTrafficPolicy is Local, and endpoints are only where nobody can announce it: ")?;
                write!(f, "{}. Move the Pods, or set the policy to Cluster", clauses(obstacles))?;
            }
            Cause::Prevented(obstacles) if obstacles.is_empty() => {
                f.write_str("no agent runs. Check the DaemonSet lbnodeagent")?;
            }
            Cause::Prevented(obstacles) => write!(f, "{}. {}", clauses(obstacles), advice(obstacles))?,
            Cause::Unconfirmed(nodes) => write!(
                f,
                "{} can, and {} not. See the events of the Service and /state of the agents there: another host may use the address, or the network may be cut",
                list(nodes),
                if nodes.len() == 1 { "does" } else { "do" }
            )?,
        }
        if self.may_linger {
            f.write_str(". The kernel of the node that announced it last may answer for some minutes")?;
        }
        Ok(())
    }
}

impl Finding {
    fn no_node(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no node is in its subnet")?;
        if let Some(subnet) = self.subnet {
            write!(f, " {}/{}", subnet.network(), subnet.prefix())?;
        }
        if self.subnets.is_empty() {
            return f.write_str(", and no agent announces local addresses. Check the DaemonSet lbnodeagent");
        }
        let networks: Vec<String> = self.subnets.iter().map(ToString::to_string).collect();
        write!(
            f,
            "; the agents are in {}. Use a range of these networks or a remote group, or connect a node to that subnet",
            list(&networks)
        )
    }
}

/// Which nodes have which obstacle.
fn clauses(obstacles: &BTreeMap<Obstacle, Vec<String>>) -> String {
    let clause = |(obstacle, nodes): (&Obstacle, &Vec<String>)| {
        let list = list(nodes);
        match obstacle {
            Obstacle::NotRunning => format!("no agent runs on {list}"),
            Obstacle::Deselected => format!("no LBNodeAgent selects {list}"),
            Obstacle::Invalid => format!("the LBNodeAgent of {list} is not valid"),
            Obstacle::NoInterface => format!("the agent of {list} has selected no interface in the subnet"),
            Obstacle::Outside => format!("not in the subnet: {list}"),
            Obstacle::Excluded => {
                format!("the label node.kubernetes.io/exclude-from-external-load-balancers excludes {list}")
            }
            Obstacle::NoEndpoint => format!("no endpoint on {list}"),
            Obstacle::Refused(why) => format!("refused by {list}: {why}"),
        }
    };
    let mut all: Vec<String> = obstacles.iter().map(clause).collect();
    let more = all.len().saturating_sub(LISTED);
    all.truncate(LISTED);
    if more > 0 {
        all.push(format!("and {more} other reasons"));
    }
    all.join("; ")
}

/// What to do about the first obstacle that can be removed.
fn advice(obstacles: &BTreeMap<Obstacle, Vec<String>>) -> &'static str {
    match obstacles.keys().next() {
        Some(Obstacle::NotRunning) => "Check the DaemonSet lbnodeagent",
        Some(Obstacle::Deselected) => "Have an LBNodeAgent select these nodes",
        Some(Obstacle::Invalid) => "Correct the LBNodeAgent: its events say what is wrong",
        Some(Obstacle::NoInterface) => "Have the LBNodeAgent select an interface in that subnet",
        Some(Obstacle::Excluded) => "Remove the label from a node that may announce",
        Some(Obstacle::Refused(_)) => "Remove the cause, or give the Service another address",
        Some(Obstacle::Outside | Obstacle::NoEndpoint) | None => "Use a range of the nodes' networks",
    }
}

fn list(items: &[String]) -> String {
    let shown = items.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
