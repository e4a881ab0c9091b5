//! Returning freed memory to the system.

/// Returns freed memory to the system.
///
/// The C library keeps freed memory for later use. The first list of all objects, or a dump of ten thousand addresses,
/// needs much memory for a moment and then not for a long time.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(unsafe_code, reason = "the function takes no pointers and may be called at any time, from any thread")]
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
}
