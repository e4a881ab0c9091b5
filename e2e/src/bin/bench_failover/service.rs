//! The Service whose addresses the client watches, and its backend.

use std::net::IpAddr;

use e2e::{Family, HostId};

/// The namespace of the Service.
pub(crate) const SPACE: &str = "bench";

/// The Service.
pub(crate) const SERVICE: &str = "web";

/// Where the backend listens, on the router.
pub(crate) const BACKEND: u16 = 8080;

/// The Service's port.
pub(crate) const PORT: u16 = 80;

/// A dual-stack Service with these addresses and without selector.
pub(crate) fn service(name: &str, [v4, v6]: [IpAddr; 2]) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {SPACE}
  annotations: {{purelb.io/addresses: "{v4},{v6}"}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ports: [{{name: http, port: {PORT}, targetPort: {BACKEND}}}]
"#
    )
}

/// The backend of a Service: the router, in both families.
pub(crate) fn slices(name: &str) -> String {
    let router = HostId::Router;
    let slice = |family: Family, kind: &str, address: &str| {
        format!(
            r#"---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{family:?}
  namespace: {SPACE}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: {kind}
endpoints: [{{addresses: ["{address}"], conditions: {{ready: true}}}}]
ports: [{{name: http, port: {BACKEND}, protocol: TCP}}]
"#
        )
        .replace("-V4\n", "-v4\n")
        .replace("-V6\n", "-v6\n")
    };
    slice(Family::V4, "IPv4", &router.ipv4().to_string()) + &slice(Family::V6, "IPv6", &router.ipv6().to_string())
}
