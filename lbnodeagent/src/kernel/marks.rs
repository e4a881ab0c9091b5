//! Whether this kernel can mark addresses.

use std::sync::LazyLock;

/// Whether this kernel marks addresses (`IFA_PROTO`). Linux does since 5.18.
#[must_use]
pub fn marks_addresses() -> bool {
    static MARKS: LazyLock<bool> = LazyLock::new(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        is_new_enough(&release)
    });
    *MARKS
}

fn is_new_enough(release: &str) -> bool {
    let mut numbers = release.split(|separator: char| !separator.is_ascii_digit()).map_while(|text| text.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_mark_addresses() {
        let known =
            [("6.18.0", true), ("5.18.0-rc1", true), ("5.17.9-generic", false), ("5.14.0-427.el9", false), ("", false)];
        for (release, marks) in known {
            assert_eq!(is_new_enough(release), marks, "{release}");
        }
        assert!(is_new_enough("10.0"));
    }
}
