//! The status of an LBNodeAgent, in the form that Flux, Helm and other users of kstatus read.
//!
//! All agents see the same object and come to the same conclusion, so one of them writes: the first by name of those that
//! live. Agents that see different members may both write for a while; they write the same, and each of them not more
//! often than [`AT_LEAST`] and [`AGAIN`] allow.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::LBNodeAgentStatus;
use api_types::names::agent_condition::{READY, STALLED, ready_reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use runtime::BootTime;
use serde_json::{Value, json};

use crate::cluster::agent_object::{AgentObject, Validity};

/// The least time between two writes about one object.
pub const AT_LEAST: Duration = Duration::from_secs(5);
/// The least time until what was written is written again, because somebody else has written something else.
pub const AGAIN: Duration = Duration::from_secs(60);

/// Namespace and name of an LBNodeAgent.
pub type AgentName = (String, String);

/// The status that the object is to have.
#[must_use]
pub fn status(object: &AgentObject, now: Timestamp) -> LBNodeAgentStatus {
    let stored = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let condition = |name: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let before = stored.iter().find(|stored| stored.type_ == name && stored.status == status);
        let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Condition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: Some(object.generation),
            last_transition_time: before.map_or(Time(whole), |before| before.last_transition_time.clone()),
        }
    };
    let conditions = match &object.validity {
        Validity::Valid => vec![condition(READY, true, ready_reason::ACCEPTED, "the settings can be used")],
        Validity::Invalid(why) => vec![
            condition(READY, false, ready_reason::INVALID, why),
            condition(STALLED, true, ready_reason::INVALID, why),
        ],
        Validity::Unreadable(why) => {
            let why = format!("{why}: correct the value, or update the agents");
            vec![condition(READY, false, ready_reason::UNREADABLE, &why)]
        }
    };
    LBNodeAgentStatus { observed_generation: Some(object.generation), conditions, ..LBNodeAgentStatus::default() }
}

/// The configuration to apply (server-side apply) to the status of the object.
#[must_use]
pub fn patch(name: &AgentName, object: &AgentObject, status: &LBNodeAgentStatus) -> Value {
    json!({
        "apiVersion": "purelb.io/v2", "kind": "LBNodeAgent",
        "metadata": {"namespace": name.0, "name": name.1, "uid": object.uid},
        "status": {"observedGeneration": status.observed_generation, "conditions": status.conditions}
    })
}

/// What was written of each object, and when.
#[derive(Debug, Default)]
pub struct Written(BTreeMap<AgentName, (BootTime, i64, Validity)>);

impl Written {
    /// The next object whose status is to be written, if any.
    pub fn next<'a>(
        &mut self,
        objects: &'a BTreeMap<AgentName, AgentObject>,
        now: BootTime,
        wall: Timestamp,
    ) -> Option<(&'a AgentName, &'a AgentObject, LBNodeAgentStatus)> {
        self.0.retain(|name, _| objects.contains_key(name));
        for (name, object) in objects {
            let status = status(object, wall);
            if object.status.as_ref().is_some_and(|stored| says_the_same(stored, &status)) {
                continue;
            }
            let may_write = |(at, generation, validity): &(BootTime, i64, Validity)| {
                let same = (*generation, validity) == (object.generation, &object.validity);
                now.since(*at) >= if same { AGAIN } else { AT_LEAST }
            };
            if self.0.get(name).is_none_or(may_write) {
                self.0.insert(name.clone(), (now, object.generation, object.validity.clone()));
                return Some((name, object, status));
            }
        }
        None
    }
}

/// Whether the stored status has everything that this one says. Others may have added conditions.
fn says_the_same(stored: &LBNodeAgentStatus, status: &LBNodeAgentStatus) -> bool {
    let has = |name: &str| status.conditions.iter().any(|condition| condition.type_ == name);
    let left = stored.conditions.iter().any(|stored| stored.type_ == STALLED && !has(STALLED));
    stored.observed_generation == status.observed_generation
        && status.conditions.iter().all(|condition| stored.conditions.contains(condition))
        && !left
}

#[cfg(test)]
mod tests {
    use api_types::{LBNodeAgent, Watched};
    use rstest::rstest;

    use super::*;

    fn object(spec: &Value, generation: i64, status: Option<&LBNodeAgentStatus>) -> AgentObject {
        let watched: Watched<LBNodeAgent> = serde_json::from_value(json!({
            "apiVersion": "purelb.io/v2", "kind": "LBNodeAgent",
            "metadata": {"namespace": "purelb", "name": "default", "uid": "u", "generation": generation},
            "spec": spec, "status": status
        }))
        .unwrap();
        AgentObject::new(&watched, watched.spec().as_ref())
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    /// The rules of kstatus for an object with conditions (cli-utils, `status/generic.go` and `status/core.go`).
    fn kstatus(generation: i64, status: Option<&LBNodeAgentStatus>) -> &'static str {
        let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
        let is = |name: &str, value: &str| {
            conditions.iter().any(|condition| condition.type_ == name && condition.status == value)
        };
        let observed = status.and_then(|status| status.observed_generation);
        if observed.is_some_and(|observed| observed != generation) || is("Reconciling", "True") {
            "InProgress"
        } else if is("Stalled", "True") {
            "Failed"
        } else if is("Ready", "False") || is("Ready", "Unknown") {
            "InProgress"
        } else {
            "Current"
        }
    }

    #[rstest]
    #[case::valid(json!({"local": {}}), "Current", "")]
    #[case::without_settings(json!({}), "Current", "")]
    #[case::invalid(json!({"local": {"localInterface": "eth[0"}}), "Failed", "is not a regular expression")]
    #[case::selector(json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}}), "Failed", "is no operator")]
    #[case::unreadable(json!({"local": {"failureDetection": "Never"}}), "InProgress", "update the agents")]
    fn case_103_tools_see_whether_the_settings_can_be_used(
        #[case] spec: Value,
        #[case] seen: &str,
        #[case] message: &str,
    ) {
        let object = object(&spec, 3, None);
        let status = status(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(kstatus(3, Some(&status)), seen);
        assert_eq!(kstatus(4, Some(&status)), "InProgress", "after an edit");
        assert!(status.conditions[0].message.contains(message), "{status:?}");
        let patch = patch(&("purelb".to_owned(), "default".to_owned()), &object, &status);
        assert_eq!(patch["metadata"], json!({"namespace": "purelb", "name": "default", "uid": "u"}));
        assert_eq!(patch["status"]["observedGeneration"], 3);
    }

    #[test]
    fn case_103_a_status_is_written_once() {
        let name = ("purelb".to_owned(), "default".to_owned());
        let bad = json!({"local": {"localInterface": "eth[0"}});
        let mut written = Written::default();
        let mut next = |object: &AgentObject, seconds: u64| {
            let objects = [(name.clone(), object.clone())].into();
            let wall = Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
            written.next(&objects, at(seconds), wall).map(|(_, _, status)| status)
        };
        let first = next(&object(&bad, 1, None), 100).unwrap();
        assert_eq!(next(&object(&bad, 1, None), 101), None, "it is under way");
        assert_eq!(next(&object(&bad, 1, Some(&first)), 102), None, "it is there");
        // Somebody overwrites it again and again.
        assert_eq!(next(&object(&bad, 1, None), 159), None);
        assert!(next(&object(&bad, 1, None), 160).is_some());
        // Another release adds a condition of its own.
        let mut more = first.clone();
        more.conditions.push(Condition { type_: "Other".to_owned(), ..first.conditions[0].clone() });
        assert_eq!(next(&object(&bad, 1, Some(&more)), 300), None);
        // An edit that mends it, and one a second later.
        let good = next(&object(&json!({}), 2, Some(&first)), 301).unwrap();
        assert_eq!(good.conditions.len(), 1);
        assert_eq!(next(&object(&bad, 3, Some(&good)), 302), None);
        let again = next(&object(&bad, 3, Some(&good)), 306).unwrap();
        assert_eq!(again.conditions[0].last_transition_time.0.as_second(), 306);
        // The state goes on: it keeps its time.
        let later = next(&object(&bad, 4, Some(&again)), 400).unwrap();
        assert_eq!(later.conditions[0].last_transition_time.0.as_second(), 306);
    }
}
