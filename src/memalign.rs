//! x264 asks for pictures of 1.75 MiB and more on the edge of a huge page (2 MiB, `x264_malloc`), a wish and no need. glibc's heap
//! is in pieces by that: an encoder's pictures come and go with each segment, what lies between two edges is too small for
//! the next one, and a chunk of 1080p camera that needs 0.85 GB holds 1.4 (docs/pipeline.md). In children that code, these get a
//! cache line's edge, as x264 gives all else; its advice to the kernel about huge pages then fails, which it does not look at.
//!
//! In the program and not in the library: the library has no unsafe code, and the symbol is to be the program's.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

const HUGE_PAGE: usize = 2 << 20;
const CACHE_LINE: usize = 64;

/// Whether this process codes pictures. Elsewhere everybody gets what he asks for.
static CODES: AtomicBool = AtomicBool::new(false);

/// Called before any thread is started.
pub fn settle() {
    let mut args = std::env::args_os().skip(1);
    let coder = args.next().is_some_and(|a| a == "child") && args.next().is_some_and(|a| a == "chunk" || a == "search" || a == "stills");
    CODES.store(coder, Ordering::Relaxed);
}

unsafe extern "C" {
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
}

/// memalign(3), for every library of the process.
#[unsafe(no_mangle)]
extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    let alignment = if alignment == HUGE_PAGE && CODES.load(Ordering::Relaxed) { CACHE_LINE } else { alignment };
    // SAFETY: what glibc's memalign does, under the name that any other allocator in its place has, too; `free` takes what it gives.
    unsafe { aligned_alloc(alignment, size) }
}
