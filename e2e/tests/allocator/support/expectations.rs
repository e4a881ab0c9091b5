//! What the tests expect of Services and groups: each function waits until it is so.

use std::net::IpAddr;

use api_types::service::ingress_addresses;
use e2e::{
    eventually,
    testing::{DEADLINE, wait_for_event},
};
use k8s_openapi::api::core::v1::{Event, Service};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use crate::support::fixture::{Fixture, annotation, group};

impl Fixture<'_> {
    /// Creates a Service of this group, and waits until it has this very address.
    pub(crate) async fn allocate(&self, name: &str, of: &str, address: &str) {
        self.create(name, &[group(of)], json!({})).await;
        self.has(name, &[address]).await;
    }

    /// Creates a Service of this group, and waits until its allocation has failed with `words` in the event.
    pub(crate) async fn allocation_fails(&self, name: &str, of: &str, words: &str) {
        self.create(name, &[group(of)], json!({})).await;
        self.fails(name, words).await;
    }

    /// Waits until a Service has none of our annotations.
    pub(crate) async fn has_no_annotations(&self, name: &str) {
        eventually(DEADLINE, format!("{name} without our annotations"), async || {
            let annotations = self.service(name).await.metadata.annotations.unwrap_or_default();
            let ours = ["allocated-by", "allocated-from", "pool-type"].map(|key| format!("purelb.io/{key}"));
            if ours.iter().any(|key| annotations.contains_key(key)) { Err(format!("{annotations:?}")) } else { Ok(()) }
        })
        .await
        .unwrap();
    }

    /// Waits until a condition of a group has this status and a message with `words` in it.
    pub(crate) async fn condition(&self, name: &str, kind: &str, status: &str, words: &str) {
        eventually(DEADLINE, format!("group {name} with {kind}={status} and {words:?}"), async || {
            let group = self.group_object(name).await;
            let conditions = group.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let found = conditions.iter().any(|condition| {
                condition["type"] == kind
                    && condition["status"] == status
                    && condition["message"].as_str().is_some_and(|message| message.contains(words))
            });
            if found { Ok(()) } else { Err(group["status"].to_string()) }
        })
        .await
        .unwrap();
    }

    /// Waits until the status of a group has these fields.
    pub(crate) async fn group_status(&self, name: &str, fields: &Value) {
        eventually(DEADLINE, format!("group {name} with {fields}"), async || {
            let status = self.group_object(name).await["status"].clone();
            let same = fields.as_object().unwrap().iter().all(|(fixture, value)| status[fixture] == *value);
            if same { Ok(()) } else { Err(status.to_string()) }
        })
        .await
        .unwrap();
    }

    /// Waits until a Service has a true condition of this type with `words` in its message, or none of this type.
    pub(crate) async fn service_condition(&self, name: &str, kind: &str, words: Option<&str>) {
        eventually(DEADLINE, format!("Service {name} with {kind} that says {words:?}"), async || {
            let conditions = self.service(name).await.status.and_then(|status| status.conditions).unwrap_or_default();
            let found = conditions.iter().find(|condition| condition.type_ == kind);
            let said = found.filter(|condition| condition.status == "True").map(|condition| condition.message.as_str());
            match (said, words) {
                (None, None) if found.is_none() => Ok(()),
                (Some(said), Some(words)) if said.contains(words) => Ok(()),
                _ => Err(format!("{conditions:?}")),
            }
        })
        .await
        .unwrap();
    }

    /// Waits until a Service has these very addresses in this order; `[]` waits until it has none.
    pub(crate) async fn has(&self, name: &str, addresses: &[&str]) {
        self.has_in(&self.namespace, name, addresses).await;
    }

    pub(crate) async fn has_in(&self, space: &str, name: &str, addresses: &[&str]) {
        let api: Api<Service> = Api::namespaced(self.client.clone(), space);
        let wanted: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        eventually(DEADLINE, format!("Service {space}/{name} with {addresses:?}"), async || {
            let service = api.get(name).await.map_err(|error| error.to_string())?;
            let found = ingress_addresses(&service);
            if found == wanted { Ok(()) } else { Err(format!("{found:?} {:?}", service.metadata.annotations)) }
        })
        .await
        .unwrap();
    }

    /// Waits until an allocation has failed with `words` in the event; the Service must have no address then.
    pub(crate) async fn fails(&self, name: &str, words: &str) {
        self.fails_in(&self.namespace, name, words).await;
    }

    pub(crate) async fn fails_in(&self, space: &str, name: &str, words: &str) {
        self.event_in(space, name, "AllocationFailed", words).await;
        let service = Api::<Service>::namespaced(self.client.clone(), space).get(name).await.unwrap();
        assert!(ingress_addresses(&service).is_empty(), "{name} has failed and has addresses");
        assert_eq!(annotation(&service, "allocated-by"), None, "{name} has failed and is marked");
    }

    pub(crate) async fn event(&self, name: &str, reason: &str, words: &str) {
        self.event_in(&self.namespace, name, reason, words).await;
    }

    pub(crate) async fn event_in(&self, space: &str, name: &str, reason: &str, words: &str) {
        wait_for_event(self.cluster, space, name, reason, words).await;
    }

    pub(crate) async fn events(&self, space: &str, name: &str, reason: &str) -> Vec<Event> {
        let selector = format!("involvedObject.name={name},reason={reason}");
        let api: Api<Event> = Api::namespaced(self.client.clone(), space);
        api.list(&ListParams::default().fields(&selector)).await.map(|list| list.items).unwrap_or_default()
    }
}
