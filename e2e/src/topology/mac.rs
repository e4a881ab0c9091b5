//! Hardware addresses.

use std::{fmt, str::FromStr};

use crate::base::error::{Error, Result, unexpected};

/// An Ethernet hardware address, printed as `02:00:00:00:50:0b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of everyone on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(formatter, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let octets: Option<Vec<u8>> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
        octets.and_then(|octets| octets.try_into().ok()).map(Self).ok_or_else(|| unexpected("a hardware address", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back() {
        let mac = Mac([2, 0, 0, 0, 0x50, 11]);
        assert_eq!(mac.to_string(), "02:00:00:00:50:0b");
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        "02:00".parse::<Mac>().unwrap_err();
    }
}
