//! Giving memory back.

/// Returns what was freed to the system. The allocator of the C library keeps it for later, but what a first list or a
/// reading of ten thousand addresses takes for a moment is not needed again for long.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(unsafe_code, reason = "the function takes no pointers and may be called at any time, from any thread")]
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
}
