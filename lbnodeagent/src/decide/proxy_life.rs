//! Whether a kube-proxy that lived has died.

use std::time::Duration;

use runtime::BootTime;

use crate::decide::kube_proxy::{Health, Signs};

/// For how long kube-proxy may be silent on its ports, or say that it does not live.
const DEAD: Duration = Duration::from_secs(30);
/// After which part of that the others are told. Nodes look at different moments, so all that are concerned are counted
/// before the first of them does anything.
const DOUBTFUL: Duration = Duration::from_secs(15);
/// Looks that this takes at least: after a pause of the whole node, the first look says little.
const LOOKS: u32 = 3;

/// Whether a kube-proxy that lived has died: it does not say any more that it lives. One that never did says nothing;
/// releases before 1.28 cannot. That it is healthy is more than that it lives, and does not count. One that still says its
/// mode lives: its health port was moved or switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Life {
    lived: bool,
    silence: Option<Silence>,
}

/// Since when there are no signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    since: BootTime,
    last: BootTime,
    looks: u32,
}

impl Life {
    /// Whether it has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.has_been_silent_for(DEAD)
    }

    /// Whether it may have died.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.has_been_silent_for(DOUBTFUL)
    }

    fn has_been_silent_for(&self, time: Duration) -> bool {
        self.silence.is_some_and(|silence| silence.looks >= LOOKS && silence.last.since(silence.since) >= time)
    }

    /// Takes over a look.
    pub fn look(&mut self, signs: Signs, now: BootTime) {
        match (signs.health, signs.mode) {
            (Health::Lives, _) => *self = Self { lived: true, silence: None },
            // Whoever has no such page cannot say that it lives.
            (Health::NoPage, _) => *self = Self::default(),
            (Health::Silent, Some(_)) => self.silence = None,
            (Health::Fails, _) | (Health::Silent, None) if self.lived => {
                let before = self.silence.unwrap_or(Silence { since: now, last: now, looks: 0 });
                self.silence = Some(Silence { last: now, looks: before.looks.saturating_add(1), ..before });
            }
            _ => {}
        }
    }

    /// There is no kube-proxy any more, and it took its rules along: it was removed on purpose.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service_proxy::ProxyMode;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    const fn signs(health: Health) -> Signs {
        Signs { mode: None, health }
    }

    const MODE: Option<ProxyMode> = Some(ProxyMode::Nftables);

    /// After it lived at 0 s, and these looks at 10, 20, 30, 40 and 50 s.
    fn after(looks: [Signs; 5]) -> [bool; 2] {
        let mut life = Life::default();
        life.look(signs(Health::Lives), at(0));
        for (look, second) in looks.into_iter().zip([10, 20, 30, 40, 50]) {
            life.look(look, at(second));
        }
        [life.is_doubtful(), life.is_dead()]
    }

    #[test]
    fn one_that_lived_and_is_silent_for_half_a_minute_is_dead() {
        let mut life = Life::default();
        for second in [0, 50, 100] {
            life.look(signs(Health::Fails), at(second));
            assert!(!life.is_doubtful(), "it never said that it lives");
        }
        life.look(signs(Health::Lives), at(200));
        for (second, state) in [(210, [false; 2]), (220, [false; 2]), (225, [true, false]), (239, [true, false])] {
            life.look(signs(Health::Silent), at(second));
            assert_eq!([life.is_doubtful(), life.is_dead()], state, "{second}");
        }
        life.look(signs(Health::Silent), at(240));
        assert!(life.is_dead());
        life.look(signs(Health::Lives), at(241));
        assert!(!life.is_doubtful());
        life.look(signs(Health::Silent), at(300));
        life.look(signs(Health::Silent), at(400));
        assert!(!life.is_doubtful(), "a pause of the node is no absence");
    }

    #[test]
    fn only_a_sign_of_death_counts() {
        let silent = signs(Health::Silent);
        let moved = Signs { mode: MODE, ..silent };
        for (name, looks, expected) in [
            ("silent", [silent; 5], [true, true]),
            ("says that it does not live", [signs(Health::Fails); 5], [true, true]),
            ("and its mode", [Signs { mode: MODE, health: Health::Fails }; 5], [true, true]),
            ("its health port was moved", [moved; 5], [false, false]),
            ("it was, later", [silent, silent, silent, silent, moved], [false, false]),
            ("an earlier release", [signs(Health::NoPage), silent, silent, silent, silent], [false, false]),
            ("another program", [silent, silent, silent, silent, signs(Health::NoPage)], [false, false]),
        ] {
            assert_eq!(after(looks), expected, "{name}");
        }
    }
}
