//! The calls for Services that wait for one sidecar, and those that are under way, shared fairly.
//!
//! Each group of the sidecar has the same share of the calls under way, so that the slow calls of one group never keep
//! another one waiting. Within a group, Services whose last call was not answered in time have at most half of the share.
//! What may have broken the sidecar is tried alone, when nothing else is to be done, so that it takes nobody with it.

use std::collections::{BTreeMap, VecDeque};

use super::call::CallId;
use crate::model::Owner;

/// The calls of one group.
#[derive(Debug, Default)]
struct GroupCalls {
    /// Services whose last call was answered in time, and new ones.
    prompt: VecDeque<Owner>,
    /// The others.
    slow: VecDeque<Owner>,
    /// Calls under way, of each kind.
    prompt_under_way: usize,
    slow_under_way: usize,
}

impl GroupCalls {
    fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.slow.is_empty() && self.prompt_under_way + self.slow_under_way == 0
    }

    fn pop(&mut self, share: usize) -> Option<(Owner, Pace)> {
        if self.prompt_under_way + self.slow_under_way >= share {
            return None;
        }
        let prompt = self.prompt.pop_front().map(|owner| (owner, Pace::Prompt));
        let slow_share = (share / 2).max(1);
        prompt.or_else(|| {
            let slow = if self.slow_under_way < slow_share { self.slow.pop_front() } else { None };
            slow.map(|owner| (owner, Pace::Slow))
        })
    }
}

/// How the last call of a Service was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pace {
    /// In time, or there was none.
    #[default]
    Prompt,
    /// Not in time.
    Slow,
    /// The connection broke meanwhile.
    Alone,
}

/// The calls for Services of one sidecar.
#[derive(Debug, Default)]
pub(super) struct CallQueue {
    groups: BTreeMap<String, GroupCalls>,
    /// The group whose call was taken last. The next one has the next turn.
    last: String,
    /// Groups and Services that are tried one at a time.
    alone: VecDeque<(String, Owner)>,
    under_way: BTreeMap<CallId, (String, Pace)>,
}

impl CallQueue {
    /// Adds a Service of the group whose call may be sent.
    pub(super) fn push(&mut self, group: &str, owner: Owner, pace: Pace) {
        if pace == Pace::Alone {
            return self.alone.push_back((group.to_owned(), owner));
        }
        let calls = self.groups.entry(group.to_owned()).or_default();
        if pace == Pace::Slow { &mut calls.slow } else { &mut calls.prompt }.push_back(owner);
    }

    /// Takes the next Service of the group that has the turn. No group has more than `share` calls under way.
    pub(super) fn pop(&mut self, share: usize) -> Option<(String, Owner, Pace)> {
        let names: Vec<&String> = self.groups.keys().collect();
        let turn = names.iter().position(|name| **name > self.last).unwrap_or_default();
        let in_turn = names.iter().cycle().skip(turn).take(names.len());
        let in_turn: Vec<String> = in_turn.map(|name| (*name).clone()).collect();
        let in_turn = in_turn.into_iter().find_map(|name| {
            let found = self.groups.get_mut(&name)?.pop(share)?;
            Some((name, found))
        });
        let Some((group, (owner, pace))) = in_turn else { return self.pop_alone() };
        self.last.clone_from(&group);
        self.remove_empty(&group);
        Some((group, owner, pace))
    }

    fn pop_alone(&mut self) -> Option<(String, Owner, Pace)> {
        let waits = self.under_way.values().any(|(_, pace)| *pace != Pace::Slow);
        let (group, owner) = if waits { None } else { self.alone.pop_front() }?;
        Some((group, owner, Pace::Alone))
    }

    /// The call is sent.
    pub(super) fn sent(&mut self, id: CallId, group: &str, pace: Pace) {
        if pace != Pace::Alone {
            let calls = self.groups.entry(group.to_owned()).or_default();
            *if pace == Pace::Slow { &mut calls.slow_under_way } else { &mut calls.prompt_under_way } += 1;
        }
        self.under_way.insert(id, (group.to_owned(), pace));
    }

    /// The call has ended.
    pub(super) fn ended(&mut self, id: CallId) {
        let Some((group, pace)) = self.under_way.remove(&id) else { return };
        if let Some(calls) = self.groups.get_mut(&group) {
            match pace {
                Pace::Prompt => calls.prompt_under_way = calls.prompt_under_way.saturating_sub(1),
                Pace::Slow => calls.slow_under_way = calls.slow_under_way.saturating_sub(1),
                Pace::Alone => {}
            }
        }
        self.remove_empty(&group);
    }

    /// How many calls are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn remove_empty(&mut self, group: &str) {
        if self.groups.get(group).is_some_and(GroupCalls::is_empty) {
            self.groups.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceName;

    fn owner(name: &str) -> Owner {
        Owner::new(&ServiceName::new("shop", name), "uid")
    }

    fn take(queue: &mut CallQueue, share: usize, id: &mut CallId) -> Option<String> {
        let (group, owner, pace) = queue.pop(share)?;
        *id = id.next();
        queue.sent(*id, &group, pace);
        Some(format!("{group}:{}", owner.name.name()))
    }

    #[test]
    fn groups_take_turns_and_none_has_more_than_its_share() {
        let (mut queue, mut id) = (CallQueue::default(), CallId::default());
        for number in 0..10 {
            queue.push("many", owner(&number.to_string()), Pace::Prompt);
        }
        queue.push("one", owner("x"), Pace::Prompt);
        let taken: Vec<String> = std::iter::from_fn(|| take(&mut queue, 3, &mut id)).collect();
        assert_eq!(taken, ["many:0", "one:x", "many:1", "many:2"]);
        // A call of the group ends, and its next one goes.
        queue.ended(CallId::default().next());
        assert_eq!(take(&mut queue, 3, &mut id).as_deref(), Some("many:3"));
        assert_eq!(queue.under_way(), 4);
    }

    #[test]
    fn services_that_were_not_answered_leave_room_for_the_others() {
        let (mut queue, mut id) = (CallQueue::default(), CallId::default());
        for number in 0..10 {
            queue.push("ext", owner(&format!("slow-{number}")), Pace::Slow);
        }
        let taken = std::iter::from_fn(|| take(&mut queue, 8, &mut id)).count();
        assert_eq!(taken, 4);
        queue.push("ext", owner("new"), Pace::Prompt);
        assert_eq!(take(&mut queue, 8, &mut id).as_deref(), Some("ext:new"));
    }
}
