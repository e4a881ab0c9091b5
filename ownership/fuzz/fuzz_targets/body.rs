#![no_main]

use libfuzzer_sys::fuzz_target;
use ownership::wire::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok((status, messages)) = decode(bytes) {
        assert_eq!(decode(&encode(&status, &messages)), Ok((status, messages)));
    }
});
