//! How many frames a node sends on the links.

/// What a node sent in one second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frames {
    /// Questions to everybody.
    pub asked_all: u32,
    /// Questions to one host.
    pub asked_one: u32,
    /// Those of them that were for VIPs, or for free addresses.
    pub for_vips: u32,
    /// Announcements: a request and a reply each.
    pub announced: u32,
}

impl Frames {
    pub fn broadcasts(&self) -> u32 {
        self.asked_all + self.announced
    }
}
