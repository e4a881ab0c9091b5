//! Counts the frames that nodes send.

use ownership::{Mac, ProbeKind, Time};

use super::cluster::Cluster;
use super::frames::Frames;

impl Cluster {
    pub fn count_question(&mut self, node: usize, to: Option<Mac>, kind: ProbeKind) {
        let frames = self.frames.entry((node, self.now.as_micros() / 1_000_000)).or_default();
        frames.for_vips += u32::from(kind == ProbeKind::Duplicate);
        if to.is_none() {
            frames.asked_all += 1;
        } else {
            frames.asked_one += 1;
        }
    }

    pub fn count_announcement(&mut self, node: usize) {
        self.frames.entry((node, self.now.as_micros() / 1_000_000)).or_default().announced += 2;
    }

    /// What a node sent in each second from a time on.
    pub fn sent_by(&self, node: usize, after: Time) -> Vec<Frames> {
        let seconds = after.as_micros() / 1_000_000 + 1..self.now.as_micros() / 1_000_000;
        seconds.map(|second| self.frames.get(&(node, second)).copied().unwrap_or_default()).collect()
    }
}
