//! The clusters that all tests share: one for each test that may run at the same time.

use std::{env, time::Duration};

use crate::{
    base::error::Result,
    cluster::{handle::Cluster, lock::ClusterLock, stop::stop},
    topology::layout::Layout,
};

/// The name and size of the clusters that all tests share.
const SHARED: (&str, u8) = ("test", 3);

/// The environment variable with another name for them, for several checkouts on one machine.
const SHARED_NAME: &str = "PURELB_TEST_CLUSTER";

/// The environment variable in which the test runner numbers the tests that run at the same time, from 0.
const SLOT: &str = "NEXTEST_TEST_GROUP_SLOT";

/// How long a test waits for the others that use the shared cluster.
const PATIENCE: Duration = Duration::from_secs(3600);

impl Cluster {
    /// The cluster named `test` (or as `PURELB_TEST_CLUSTER` says) and the number of the runner's slot, started if need
    /// be, for this test alone: other processes that ask for it wait until the handle is dropped. What earlier tests
    /// cut, froze or switched off works again. After a test that was killed, which leaves whatever it had changed, the
    /// cluster is a new one.
    ///
    /// # Errors
    /// It cannot be started or repaired, or the tests before this one take more than an hour.
    pub async fn shared() -> Result<Self> {
        let (name, nodes) = SHARED;
        let name = env::var(SHARED_NAME).unwrap_or_else(|_| name.to_owned());
        // Without the runner, or outside its groups, it is no number.
        let slot = env::var(SLOT).ok().and_then(|slot| slot.parse().ok()).unwrap_or(0_u8);
        let layout = Layout::new(&format!("{name}{slot}"))?;
        let lock = ClusterLock::acquire(&layout, PATIENCE)?.mark_in_use()?;
        if lock.previous_user_was_killed() {
            stop(&layout)?;
        }
        let cluster = match Self::open(layout.clone()) {
            Ok(cluster) => cluster,
            Err(_) => Self::start_locked(layout, nodes, &|_| ()).await?,
        };
        let cluster = cluster.with_lock(lock);
        cluster.repair().await?;
        Ok(cluster)
    }
}
