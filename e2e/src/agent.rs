//! The agent of a node: frozen, thawed, asked how it is.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    cluster::Cluster,
    error::Result,
    node::{AGENT, Node},
    replica::http_get,
    wait::eventually,
};

/// Of `/metrics`, `/readyz` and `/state`.
const PORT: u16 = 7472;

/// An agent that does nothing until this value is dropped.
#[derive(Debug)]
#[must_use = "the agent goes on when this is dropped"]
pub struct Frozen {
    node: Node,
    pid: i32,
}

impl Frozen {
    /// Its process, as the machine counts.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // One that was killed meanwhile stays dead, and its number may be another's.
        if self.node.processes(AGENT).is_ok_and(|pids| pids.contains(&self.pid))
            && let Err(error) = self.node.kill(self.pid, Signal::SIGCONT)
        {
            eprintln!("{error}");
        }
    }
}

impl Node {
    /// Stops the agent's process in the middle of whatever it does. The kernel goes on without it.
    ///
    /// # Errors
    /// There is none, or more than one, on this node.
    pub fn freeze_agent(&self) -> Result<Frozen> {
        self.freeze(self.agent_pid()?)
    }

    /// [`Self::freeze_agent`] for who has looked up the process before, and so loses no time.
    ///
    /// # Errors
    /// The process is gone.
    pub fn freeze(&self, pid: i32) -> Result<Frozen> {
        self.kill(pid, Signal::SIGSTOP)?;
        Ok(Frozen { node: self.clone(), pid })
    }

    /// Lets agents go on that a killed process has left frozen.
    pub(crate) fn thaw_agents(&self) -> Result<()> {
        for pid in self.processes(AGENT)? {
            self.kill(pid, Signal::SIGCONT)?;
        }
        Ok(())
    }

    /// A page of the agent: `/readyz`, `/metrics`, `/state`.
    ///
    /// # Errors
    /// The node is off, nobody answers, or with another status than 200.
    pub fn agent_page(&self, path: &str) -> Result<String> {
        // From inside, so that a node without network can be asked too.
        self.in_network(|| http_get(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), path))?
    }
}

impl Cluster {
    /// Waits until exactly one agent runs on each node and says that it is ready.
    ///
    /// # Errors
    /// [`crate::Error::Deadline`] with what the first other one says.
    pub async fn agents_ready(&self, deadline: Duration) -> Result<()> {
        eventually(deadline, "all agents ready", async || {
            self.nodes().try_for_each(|node| {
                let named = |error: crate::Error| format!("{}: {error}", node.name());
                node.agent_pid().map_err(named)?;
                node.agent_page("/readyz").map(drop).map_err(named)
            })
        })
        .await
    }
}
