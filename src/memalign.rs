//! x264 asks for every picture on the edge of a huge page (2 MiB, `x264_malloc`), a wish and no need. glibc's heap is in
//! pieces by that: an encoder's pictures come and go with each segment, what lies between two edges is too small for the
//! next one, and a chunk of 1080p camera that needs 0.85 GB holds 1.4 (docs/pipeline.md). So these get a cache line's edge, as x264
//! gives all else; its advice to the kernel about huge pages then fails, which it does not look at, and costs nothing measurable.
//!
//! In the program and not in the library: the library has no unsafe code, and the symbol is to be the program's.

use std::ffi::c_void;

const HUGE_PAGE: usize = 2 << 20;
const CACHE_LINE: usize = 64;

unsafe extern "C" {
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
}

/// memalign(3), for every library of the process.
#[unsafe(no_mangle)]
extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    let alignment = if alignment == HUGE_PAGE { CACHE_LINE } else { alignment };
    // SAFETY: glibc's own function under its other name, with the same contract; `free` takes what it gives.
    unsafe { __libc_memalign(alignment, size) }
}
