#![no_main]

use libfuzzer_sys::fuzz_target;
use ownership::session::Opener;
use ownership::{Keys, NodeId};

fuzz_target!(|bytes: &[u8]| {
    let node = NodeId::new("fuzz").expect("a name");
    let _ = Opener::new(node, Keys::new(&[1; 32], None)).open(bytes);
});
