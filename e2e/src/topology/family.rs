//! What the programs of the lab call the two address families.

use api_types::Family;

/// The names of an address family.
pub(crate) trait FamilyNames {
    /// The option that restricts the command `ip` to this family.
    fn ip_option(self) -> &'static str;
    /// How FRR calls it.
    fn frr(self) -> &'static str;
    /// BIRD 1.6 is one program for each family.
    fn bird(self) -> &'static str;
}

impl FamilyNames for Family {
    fn ip_option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    fn frr(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    fn bird(self) -> &'static str {
        match self {
            Self::V4 => "bird",
            Self::V6 => "bird6",
        }
    }
}
