//! Whether kube-proxy serves the node.

use k8s_openapi::api::coordination::v1::Lease;

use super::instance::said;

/// Annotation: whether kube-proxy serves the node, and the instance of the agent that says so, `WORD INSTANCE`. It counts
/// only while the instance is the Lease's present one: a release that does not know the annotation leaves it standing.
/// Without it the node announces no routed addresses, or its agent is of such a release.
pub const KUBE_PROXY: &str = "purelb.io/kube-proxy";

/// Whether kube-proxy serves a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyState {
    /// It does, or another service proxy does. The node announces routed addresses.
    Serves,
    /// It has not answered for a while, and nothing follows from that yet.
    Doubtful,
    /// It is on the node and does not serve it.
    Failed,
}

impl ProxyState {
    const ALL: [Self; 3] = [Self::Serves, Self::Doubtful, Self::Failed];

    const fn word(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::Doubtful => "doubtful",
            Self::Failed => "failed",
        }
    }
}

/// What the Lease's present agent says of kube-proxy on its node.
#[must_use]
pub fn proxy(lease: &Lease) -> Option<ProxyState> {
    let word = said(lease, KUBE_PROXY)?;
    ProxyState::ALL.into_iter().find(|known| known.word() == word)
}

/// The value of [`KUBE_PROXY`] of the agent with this instance.
#[must_use]
pub fn proxy_value(state: ProxyState, instance: &str) -> String {
    format!("{} {instance}", state.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::INSTANCE;

    #[test]
    fn it_counts_for_the_present_process_only() {
        let lease = |instance: &str, value: &str| {
            let mut lease = Lease::default();
            let annotations = [(INSTANCE, instance), (KUBE_PROXY, value)];
            lease.metadata.annotations =
                Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
            lease
        };
        for state in ProxyState::ALL {
            assert_eq!(proxy(&lease("pod-1", &proxy_value(state, "pod-1"))), Some(state));
            assert_eq!(proxy(&lease("pod-2", &proxy_value(state, "pod-1"))), None);
        }
        assert_eq!((proxy(&lease("pod-1", "fine pod-1")), proxy(&lease("pod-1", "failed"))), (None, None));
        assert_eq!(proxy(&Lease::default()), None);
    }
}
