//! Whether kube-proxy serves the node.

use k8s_openapi::api::coordination::v1::Lease;

use super::instance::INSTANCE;

/// Annotation: kube-proxy is on the node and does not serve it, and the instance of the agent that says so, `failed
/// INSTANCE`. It counts only while the instance is the Lease's present one: a release that does not know the annotation
/// leaves it standing.
pub const KUBE_PROXY: &str = "purelb.io/kube-proxy";

const FAILED: &str = "failed";

/// Whether the Lease's present agent says that kube-proxy does not serve its node.
#[must_use]
pub fn proxy_failed(lease: &Lease) -> bool {
    let annotations = lease.metadata.annotations.as_ref();
    let value = annotations.and_then(|annotations| annotations.get(KUBE_PROXY)?.split_once(' '));
    let instance = annotations.and_then(|annotations| annotations.get(INSTANCE));
    value.zip(instance).is_some_and(|((word, instance), present)| word == FAILED && instance == present)
}

/// The value of [`KUBE_PROXY`] of the agent with this instance.
#[must_use]
pub fn proxy_failed_value(instance: &str) -> String {
    format!("{FAILED} {instance}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_for_the_present_process_only() {
        let lease = |instance: &str, value: &str| {
            let mut lease = Lease::default();
            let annotations = [(INSTANCE, instance), (KUBE_PROXY, value)];
            lease.metadata.annotations =
                Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
            lease
        };
        assert!(proxy_failed(&lease("pod-1", &proxy_failed_value("pod-1"))));
        assert!(!proxy_failed(&lease("pod-2", &proxy_failed_value("pod-1"))));
        assert!(!proxy_failed(&lease("pod-1", "fine pod-1")) && !proxy_failed(&lease("pod-1", "failed")));
        assert!(!proxy_failed(&Lease::default()));
    }
}
