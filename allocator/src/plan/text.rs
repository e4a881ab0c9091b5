//! How addresses stand in sentences.

use std::net::IpAddr;

use api_types::provenance::addresses_value;

/// The addresses, separated by commas and blanks.
pub(super) fn joined(addresses: &[IpAddr]) -> String {
    addresses_value(addresses).replace(',', ", ")
}
