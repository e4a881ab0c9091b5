//! Which webhooks the API server asks before it answers a write, to name them when it does not answer in time.
//!
//! Their configurations are read only then.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::log::ErrorChain;
use crate::write::{WriteError, within};

/// How long reading the configurations of one kind may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
}

/// The status of Services.
pub const SERVICES: Target = Target { group: "", resource: "services", subresource: Some("status") };
/// Leases.
pub const LEASES: Target = Target { group: "coordination.k8s.io", resource: "leases", subresource: None };

impl Target {
    fn text(self) -> String {
        self.subresource.map_or_else(|| self.resource.to_owned(), |sub| format!("{}/{sub}", self.resource))
    }

    /// Whether an update of this is covered by the rule.
    fn is_covered(self, rule: &RuleWithOperations) -> bool {
        let lists = |list: Option<&Vec<String>>, wanted: &dyn Fn(&str) -> bool| {
            list.is_some_and(|list| list.iter().any(|entry| wanted(entry)))
        };
        rule.scope.as_deref() != Some("Cluster")
            && lists(rule.operations.as_ref(), &|operation| matches!(operation, "*" | "UPDATE"))
            && lists(rule.api_groups.as_ref(), &|group| group == "*" || group == self.group)
            && lists(rule.api_versions.as_ref(), &|version| matches!(version, "*" | "v1"))
            && lists(rule.resources.as_ref(), &|resource| self.is_named(resource))
    }

    /// Whether the entry of a rule names this: `*` stands for all resources without subresources, `*/*` for everything.
    fn is_named(self, entry: &str) -> bool {
        let (resource, subresource) = entry.split_once('/').map_or((entry, None), |(one, two)| (one, Some(two)));
        let resource_fits = resource == "*" || resource == self.resource;
        let subresource_fits = subresource == self.subresource || subresource == Some("*");
        resource_fits && subresource_fits
    }
}

/// A sentence about the webhooks that the API server asks before it answers an update of the target. If they cannot be
/// read, it says so.
pub async fn describe(client: Client, target: Target) -> (Target, String) {
    let sentence = match matching(client, target).await {
        Ok(found) => sentence(target, &found),
        Err(error) => {
            let (text, error) = (target.text(), ErrorChain(&error));
            format!(
                "the webhooks that match {text} cannot be read ({error}): check them, and the load of the API server"
            )
        }
    };
    (target, sentence)
}

fn sentence(target: Target, found: &BTreeSet<String>) -> String {
    let text = target.text();
    if found.is_empty() {
        return format!("no webhook matches {text}: check the load and the log of the API server");
    }
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    format!(
        "these webhooks match {text}: {}; check that their servers answer, or correct their rules",
        names.join(", ")
    )
}

async fn matching(client: Client, target: Target) -> Result<BTreeSet<String>, WriteError> {
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client);
    // From the cache of the API server: many agents may ask at once, and it is in trouble.
    let all = ListParams::default().match_any();
    let validating = within(DEADLINE, validating.list(&all)).await?;
    let mutating = within(DEADLINE, mutating.list(&all)).await?;
    let mut found = BTreeSet::new();
    for configuration in validating {
        let webhooks = configuration.webhooks.iter().flatten();
        let webhooks = webhooks.map(|webhook| (webhook.name.as_str(), webhook.rules.as_deref()));
        found.extend(names(target, "ValidatingWebhookConfiguration", &configuration.name_any(), webhooks));
    }
    for configuration in mutating {
        let webhooks = configuration.webhooks.iter().flatten();
        let webhooks = webhooks.map(|webhook| (webhook.name.as_str(), webhook.rules.as_deref()));
        found.extend(names(target, "MutatingWebhookConfiguration", &configuration.name_any(), webhooks));
    }
    Ok(found)
}

/// The webhooks of a configuration that match the target.
fn names<'a>(
    target: Target,
    kind: &str,
    configuration: &str,
    webhooks: impl Iterator<Item = (&'a str, Option<&'a [RuleWithOperations]>)>,
) -> Vec<String> {
    let matching = webhooks.filter(|(_, rules)| rules.unwrap_or_default().iter().any(|rule| target.is_covered(rule)));
    matching.map(|(name, _)| format!("{kind} {configuration:?} ({name})")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn case_67_rules_that_match_the_status_of_services() {
        for (group, resource, operation, expected) in [
            ("", "services/status", "UPDATE", true),
            ("*", "*/*", "*", true),
            ("", "services/*", "UPDATE", true),
            ("", "*/status", "UPDATE", true),
            ("", "services", "UPDATE", false),
            ("", "*", "*", false),
            ("", "services/status", "CREATE", false),
            ("apps", "*/*", "*", false),
        ] {
            let rule = json!({"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": [operation]});
            let rule: RuleWithOperations = serde_json::from_value(rule).unwrap();
            assert_eq!(SERVICES.is_covered(&rule), expected, "{group} {resource} {operation}");
        }
    }

    #[test]
    fn the_sentence_names_configuration_and_webhook() {
        let rule = json!({"apiGroups": ["coordination.k8s.io"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]});
        let rules: Vec<RuleWithOperations> = vec![serde_json::from_value(rule).unwrap()];
        let webhooks = [("a.example.com", Some(rules.as_slice())), ("b.example.com", None)];
        let found = names(LEASES, "ValidatingWebhookConfiguration", "policy", webhooks.into_iter());
        assert_eq!(found, ["ValidatingWebhookConfiguration \"policy\" (a.example.com)"]);
        let text = sentence(LEASES, &found.into_iter().collect());
        assert!(text.starts_with("these webhooks match leases: ValidatingWebhookConfiguration \"policy\""), "{text}");
        assert!(sentence(SERVICES, &BTreeSet::new()).starts_with("no webhook matches services/status"));
    }
}
