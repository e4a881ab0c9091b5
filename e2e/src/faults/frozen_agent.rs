//! An agent that stands still while the kernel goes on without it.

use nix::sys::signal::Signal;

use crate::{
    base::error::Result,
    nodes::{agent::AGENT, node::Node},
};

/// An agent whose process is stopped until this value is dropped.
#[derive(Debug)]
#[must_use = "the agent goes on when this is dropped"]
pub struct FrozenAgent {
    node: Node,
    pid: i32,
}

impl FrozenAgent {
    /// Its process id in the machine's namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for FrozenAgent {
    fn drop(&mut self) {
        // If it was killed meanwhile, another process may have its number.
        if self.node.processes(AGENT).is_ok_and(|pids| pids.contains(&self.pid))
            && let Err(error) = self.node.kill(self.pid, Signal::SIGCONT)
        {
            eprintln!("{error}");
        }
    }
}

impl Node {
    /// Stops the agent's process wherever it is. The kernel goes on without it.
    ///
    /// # Errors
    /// There is none, or more than one, on this node.
    pub fn freeze_agent(&self) -> Result<FrozenAgent> {
        self.freeze(self.agent_pid()?)
    }

    /// [`Self::freeze_agent`] for a caller that knows the process already, and so loses no time.
    ///
    /// # Errors
    /// The process is gone.
    pub fn freeze(&self, pid: i32) -> Result<FrozenAgent> {
        self.kill(pid, Signal::SIGSTOP)?;
        Ok(FrozenAgent { node: self.clone(), pid })
    }

    /// Continues agents that a killed test has left frozen.
    pub(crate) fn thaw_agents(&self) -> Result<()> {
        for pid in self.processes(AGENT)? {
            self.kill(pid, Signal::SIGCONT)?;
        }
        Ok(())
    }
}
