//! Why an agent announces nothing.

use k8s_openapi::api::coordination::v1::Lease;

use super::instance::said;

/// Annotation: why the agent announces nothing, and its instance, `WORD INSTANCE`. It counts only while the instance is
/// the Lease's present one: a release that does not know the annotation leaves it standing.
pub const INACTIVE: &str = "purelb.io/inactive";

/// Why an agent announces nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// There are LBNodeAgents, and none of them selects its node.
    Deselected,
    /// The LBNodeAgent that selects its node is not valid.
    Invalid,
}

impl Inactive {
    const fn word(self) -> &'static str {
        match self {
            Self::Deselected => "deselected",
            Self::Invalid => "invalid",
        }
    }
}

/// Why the Lease's present agent announces nothing.
#[must_use]
pub fn inactive(lease: &Lease) -> Option<Inactive> {
    let word = said(lease, INACTIVE)?;
    [Inactive::Deselected, Inactive::Invalid].into_iter().find(|known| known.word() == word)
}

/// The value of [`INACTIVE`] of the agent with this instance.
#[must_use]
pub fn inactive_value(inactive: Inactive, instance: &str) -> String {
    format!("{} {instance}", inactive.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::INSTANCE;

    #[test]
    fn it_counts_for_the_present_process_only() {
        let lease = |instance: &str, value: &str| {
            let mut lease = Lease::default();
            let annotations = [(INSTANCE, instance), (INACTIVE, value)];
            lease.metadata.annotations =
                Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
            lease
        };
        for one in [Inactive::Deselected, Inactive::Invalid] {
            assert_eq!(inactive(&lease("pod-1", &inactive_value(one, "pod-1"))), Some(one));
            assert_eq!(inactive(&lease("pod-2", &inactive_value(one, "pod-1"))), None);
        }
        assert_eq!(inactive(&lease("pod-1", "nonsense pod-1")), None);
    }
}
