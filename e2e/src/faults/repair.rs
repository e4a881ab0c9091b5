//! Undoes every fault, also those of a test that was killed.

use std::time::Duration;

use crate::{base::error::Result, cluster::handle::Cluster};

impl Cluster {
    /// Undoes every fault (see [`Self::undo_faults`]), and waits until all nodes are Ready and peer with the router.
    ///
    /// # Errors
    /// A node does not come back.
    pub async fn repair(&self) -> Result<()> {
        self.undo_faults()?;
        self.nodes_ready(Duration::from_secs(60)).await?;
        self.peered(Duration::from_secs(60)).await
    }

    /// Connects, continues and switches on what is not, and ends all faults of the network.
    ///
    /// # Errors
    /// A node cannot be started.
    pub fn undo_faults(&self) -> Result<()> {
        self.control_plane().resume_api()?;
        self.end_faults()?;
        for node in self.nodes() {
            node.power_on()?;
            node.rejoin()?;
            node.join()?;
            node.plug()?;
            node.thaw_agents()?;
        }
        Ok(())
    }
}
