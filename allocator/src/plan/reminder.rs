//! Whether an edit asks for other addresses than the Service has.
//!
//! A Service with addresses keeps them, whatever is edited. Who edits it may expect something else.

use api_types::names::reason;

use super::outcome::{Notice, Plan, Snapshot};
use super::planner::{Memory, plan};
use super::text::joined;
use crate::model::{Scope, Service};

/// What to tell a user whose edit does not move the Service: it would have other addresses if it were judged as new.
/// `present` is its plan.
#[must_use]
pub fn reminder(snapshot: Snapshot<'_>, service: &Service, present: &Plan) -> Option<Notice> {
    let has = &present.addresses;
    if service.scope != Scope::Ours || service.deleting || has.is_empty() || service.requested.re_evaluate {
        return None;
    }
    let mut anew = service.clone();
    anew.requested.re_evaluate = true;
    let anew = plan(snapshot, &anew, Memory::default());
    let same = anew.addresses.len() == has.len() && anew.addresses.iter().all(|address| has.contains(address));
    let consequence = match &anew.problem {
        Some(problem) => format!("it could not have others now: {}", problem.text),
        // Whether the sidecar of another group gives any is not known.
        None if same && anew.clear_re_evaluate => return None,
        None => "set the annotation purelb.io/re-evaluate: \"true\" to move it".to_owned(),
    };
    let text = format!(
        "the Service keeps {}, although its settings or those of the groups ask for other addresses now; {consequence}",
        joined(has)
    );
    Some(Notice::normal(reason::RE_EVALUATE_NEEDED, text))
}
