//! What both programs read from a Service.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use crate::names::{CLASSES, RESERVED_SERVICES, annotation};

/// The sharing key: Services with the same key may share an address. It is never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SharingKey(String);

impl SharingKey {
    /// Makes a key. Returns `None` if the text is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The key as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SharingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of an annotation of the Service, even if it is empty.
#[must_use]
pub fn annotation<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service.annotations().get(key).map(String::as_str)
}

/// Whose load balancer serves a Service of type `LoadBalancer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Ours, by its class, or because it has none and we are the default announcer.
    Ours,
    /// The Service names another class.
    Other,
    /// It has no class, and its user has released it to other load balancers ([`annotation::RELEASE`]).
    Released,
    /// Nobody's that we know of: it has no class and we are not the default announcer, or its name is reserved.
    Unassigned,
}

impl Class {
    /// Reads `spec.loadBalancerClass` of the Service with this namespace and name.
    ///
    /// `default_announcer` says whether Services without a class are ours, `released` that the annotation
    /// [`annotation::RELEASE`] is `true`.
    #[must_use]
    pub fn of(namespace: &str, name: &str, class: Option<&str>, default_announcer: bool, released: bool) -> Self {
        match class {
            _ if RESERVED_SERVICES.contains(&(namespace, name)) => Self::Unassigned,
            Some(class) if CLASSES.contains(&class) => Self::Ours,
            Some(_) => Self::Other,
            None if released => Self::Released,
            None if default_announcer => Self::Ours,
            None => Self::Unassigned,
        }
    }
}

/// Whether the annotation [`annotation::RELEASE`] is `true`. It counts on a Service without a class.
#[must_use]
pub fn is_released(service: &Service) -> bool {
    annotation(service, annotation::RELEASE) == Some("true")
}

/// The addresses in the Service's status, in order. Entries without an address are left out.
#[must_use]
pub fn ingress_addresses(service: &Service) -> Vec<IpAddr> {
    let ingress = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|load_balancer| load_balancer.ingress.as_ref());
    ingress.into_iter().flatten().filter_map(|entry| entry.ip.as_deref()?.parse().ok()).collect()
}

/// The sharing key of the Service: the value of the annotation `purelb.io/allow-shared-ip`.
#[must_use]
pub fn sharing_key(service: &Service) -> Option<SharingKey> {
    annotation(service, annotation::ALLOW_SHARED_IP).and_then(SharingKey::new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(value: serde_json::Value) -> Service {
        serde_json::from_value(value).unwrap()
    }

    fn is_ours(name: (&str, &str), class: Option<&str>, default_announcer: bool) -> bool {
        Class::of(name.0, name.1, class, default_announcer, false) == Class::Ours
    }

    #[test]
    fn ours_by_class_or_as_default_announcer() {
        let web = ("shop", "web");
        assert!(is_ours(web, None, true));
        assert!(!is_ours(web, None, false));
        assert!(is_ours(web, Some("purelb.io/purelb"), false));
        assert!(is_ours(web, Some("purelb.io/purelbv2"), false));
        assert!(!is_ours(web, Some("example.com/other"), true));
    }

    #[test]
    fn reserved_services_are_never_ours() {
        assert!(!is_ours(("default", "kubernetes"), None, true));
    }

    #[test]
    fn addresses_in_order_without_host_names() {
        let service = service(json!({"status": {"loadBalancer": {"ingress": [
            {"ip": "2001:db8::1"}, {"hostname": "x.example"}, {"ip": "192.0.2.1"}, {"ip": "nonsense"}
        ]}}}));
        assert_eq!(
            ingress_addresses(&service),
            ["2001:db8::1".parse::<IpAddr>().unwrap(), "192.0.2.1".parse().unwrap()]
        );
    }
}
