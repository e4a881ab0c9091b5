//! What the node's Lease says of routers: what has been so for a while. A session that flaps, or a program that is replaced,
//! is worth events, and no writes to the API server again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::lease::{Notices, RouterReport};
use runtime::BootTime;

/// How long something must have been so.
const SETTLED: Duration = Duration::from_secs(15);

/// A router.
#[derive(Debug)]
struct Seen {
    shown: Notices,
    /// Something else that is so at present, and since when.
    other: Option<(Notices, BootTime)>,
}

/// The routers.
#[derive(Debug, Default)]
pub struct Settled(BTreeMap<String, Seen>);

impl Settled {
    /// Takes over what is so now. A router that was not there before counts at once, as does one that is not there any more.
    pub fn update<'a>(&mut self, now: BootTime, routers: impl Iterator<Item = &'a RouterReport>) {
        let mut before = std::mem::take(&mut self.0);
        for RouterReport { router, notices } in routers {
            let mut seen = before.remove(router).unwrap_or_else(|| Seen { shown: notices.clone(), other: None });
            if seen.shown == *notices {
                seen.other = None;
            } else {
                let (_, since) =
                    seen.other.take().filter(|(other, _)| other == notices).unwrap_or((notices.clone(), now));
                if now.since(since) >= SETTLED {
                    seen.shown = notices.clone();
                } else {
                    seen.other = Some((notices.clone(), since));
                }
            }
            self.0.insert(router.clone(), seen);
        }
    }

    /// What the Lease says.
    #[must_use]
    pub fn routers(&self) -> Vec<RouterReport> {
        let report =
            |(router, seen): (&String, &Seen)| RouterReport { router: router.clone(), notices: seen.shown.clone() };
        self.0.iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fast(milliseconds: u64) -> RouterReport {
        RouterReport { router: "192.0.2.1".to_owned(), notices: Notices::AfterMilliseconds(milliseconds) }
    }

    fn shown(settled: &mut Settled, seconds: u64, report: Option<&RouterReport>) -> Vec<RouterReport> {
        settled.update(BootTime::from_duration(Duration::from_secs(1000 + seconds)), report.into_iter());
        settled.routers()
    }

    #[test]
    fn only_what_lasts_is_said() {
        let (mut settled, up, restart) = (Settled::default(), fast(900), fast(30_000));
        let mut says = |second, present: Option<&RouterReport>| shown(&mut settled, second, present).pop();
        assert_eq!(says(0, Some(&up)).as_ref(), Some(&up), "the first is said at once");
        // The program is replaced, and asks the router for patience meanwhile.
        for second in 1..10 {
            assert_eq!(says(second, Some(&restart)).as_ref(), Some(&up));
        }
        assert_eq!(says(10, Some(&up)).as_ref(), Some(&up));
        // It flaps.
        for second in 11..61 {
            let present = if second % 2 == 0 { &up } else { &restart };
            assert_eq!(says(second, Some(present)).as_ref(), Some(&up));
        }
        // The router is configured anew.
        assert_eq!(says(61, Some(&restart)).as_ref(), Some(&up));
        assert_eq!(says(75, Some(&restart)).as_ref(), Some(&up));
        assert_eq!(says(76, Some(&restart)).as_ref(), Some(&restart));
        assert_eq!(says(77, None), None);
    }
}
