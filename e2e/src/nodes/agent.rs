//! The agent of a node: its process and its pages.

use std::net::{Ipv4Addr, SocketAddr};

use nix::sys::signal::Signal;

use crate::{
    base::{
        error::{Error, Result},
        http::http_get,
    },
    nodes::node::Node,
};

/// The agent's program.
pub(crate) const AGENT: &str = "lbnodeagent";

/// The agent's port for `/metrics`, `/readyz` and `/state`.
const PORT: u16 = 7472;

impl Node {
    /// The agent's process id in the machine's namespace.
    ///
    /// # Errors
    /// There is none, or more than one, on this node.
    pub fn agent_pid(&self) -> Result<i32> {
        match self.processes(AGENT)?.as_slice() {
            [pid] => Ok(*pid),
            pids => Err(Error::Refused(format!("{} has {} processes {AGENT}: {pids:?}", self.id, pids.len()))),
        }
    }

    /// Kills the agent, and returns the id that its process had.
    ///
    /// # Errors
    /// There is none, or more than one, on this node.
    pub fn crash_agent(&self) -> Result<i32> {
        let pid = self.agent_pid()?;
        self.kill(pid, Signal::SIGKILL)?;
        Ok(pid)
    }

    /// A page of the agent: `/readyz`, `/metrics`, `/state`.
    ///
    /// # Errors
    /// The node is off, there is no answer, or its status is not 200.
    pub fn agent_page(&self, path: &str) -> Result<String> {
        // From inside, so that a node without network can be asked too.
        self.in_network(|| http_get(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), path))?
    }
}
