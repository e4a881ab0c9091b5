//! The dummy interface, on which remote addresses are.

use std::time::Duration;

use api_types::names::reason;
use runtime::BootTime;

use crate::kernel::host::Host;

/// How long after a failure it is tried again to make the dummy interface ready.
const RETRY: Duration = Duration::from_secs(30);

/// The dummy interface of the present configuration.
#[derive(Debug, Default)]
pub struct Dummy {
    index: Option<u32>,
    retry_at: Option<BootTime>,
}

/// The outcome of a refresh.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// The kernel was called and made the interface ready; its notifications can be read now.
    pub made_ready: bool,
    /// The reason and the text of a Kubernetes event for the node.
    pub notice: Option<(&'static str, String)>,
}

impl Dummy {
    /// Its index, if it exists.
    #[must_use]
    pub const fn index(&self) -> Option<u32> {
        self.index
    }

    /// Whether it is time to try again.
    #[must_use]
    pub fn is_due(&self, now: BootTime) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// Looks for the interface of this name, makes it if it is missing, and sets it up. Without a name there is none.
    pub async fn refresh(&mut self, host: &mut Host, name: Option<&str>) -> Refreshed {
        self.retry_at = None;
        let Some(name) = name else {
            self.index = None;
            return Refreshed::default();
        };
        let found = host.observed().index_of(name);
        if found.is_some()
            && found == self.index
            && found.and_then(|index| host.observed().links.get(&index)).is_some_and(|link| link.up)
        {
            return Refreshed::default();
        }
        let lost = self.index.is_some_and(|index| !host.observed().links.contains_key(&index));
        let (observed, wanted) = (host.observed().clone(), name.to_owned());
        match host.call(move |kernel| kernel.ensure_dummy(&wanted, &observed)).await {
            Ok(index) => {
                let created = found.is_none();
                tracing::info!(op = "dummyInterface", interface = name, created, "ready for remote addresses");
                self.index = Some(index);
                let notice = lost.then(|| {
                    let text = format!("interface {name} was deleted or replaced: its addresses are added again");
                    (reason::INTERFACE_REPAIRED, text)
                });
                Refreshed { made_ready: true, notice }
            }
            Err(error) => {
                self.retry_at = Some(BootTime::now() + RETRY);
                // What is announced on an interface that still exists stays there.
                self.index = self.index.filter(|index| host.observed().links.contains_key(index));
                let consequence = match self.index {
                    Some(index) => format!("the addresses stay on {}", host.observed().name_of(index)),
                    None => "no remote address is announced".to_owned(),
                };
                let text = format!(
                    "interface {name} for remote addresses is not ready ({error}): {consequence}. Check that this kernel has the module dummy; the agent tries again every 30 s"
                );
                tracing::warn!(op = "dummyInterface", event = reason::INTERFACE_UNAVAILABLE, interface = name, %error, "{text}");
                Refreshed { made_ready: false, notice: Some((reason::INTERFACE_UNAVAILABLE, text)) }
            }
        }
    }
}
