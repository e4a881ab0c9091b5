#![no_main]

use bfd::Wanted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(wanted) = Wanted::parse(bytes) {
        assert!(wanted.peers().is_ok());
    }
});
