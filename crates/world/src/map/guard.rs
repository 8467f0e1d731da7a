//! A fault in a mapped file must not end the process.
//!
//! Reading a page of a map that the disk does not give, or that lies behind the end of a file that somebody cut, raises
//! SIGBUS in the thread that reads. Our handler looks whether the address is in a map that is registered here; if so it puts
//! a page of zeros in that place, marks the map as faulty and lets the thread go on: it reads zeros, and checksums tell. Any
//! other SIGBUS goes to whoever handled it before.
//!
//! # Why the handler may run at any instant
//! It takes no lock and allocates nothing: it walks a list whose nodes are never freed, loads one atomic number of each, and
//! makes one system call. A thread that faults in a map has a reference to it, so its node stands as long as the handler
//! looks; the other nodes may change meanwhile, but each of their numbers is a whole range at any time, and the
//! ranges of living maps are disjoint, so none but the right one contains the address.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Maps begin at multiples of it, whatever the machine's own pages are.
const UNIT: usize = 4096;
/// A range is one number: where it begins in the upper bits, its length in so many lower ones, both in units.
const LENGTH_BITS: u32 = 28;

/// One range, or none (0). Nodes are reused, never freed.
struct Node {
    range: AtomicU64,
    faulty: AtomicBool,
    next: *mut Node,
}

static FIRST: AtomicPtr<Node> = AtomicPtr::new(ptr::null_mut());
/// What handled SIGBUS before us: set before our handler is, never freed.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(UNIT);
/// Held while the list is changed; says whether the handler is installed. The handler never takes it.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Keeps a range registered.
#[derive(Debug)]
pub(super) struct Guard(&'static Node);

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("range", &self.range).field("faulty", &self.faulty).finish_non_exhaustive()
    }
}

// SAFETY: `next` is written before a node is reachable and never again, and leads to nodes that are never freed.
#[expect(unsafe_code, reason = "a list that a signal handler walks is made of raw pointers")]
unsafe impl Sync for Node {}

impl Guard {
    /// Registers the range of a map, which has to live longer than the guard.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        let range = packed(bytes.as_ptr().addr(), bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*installed {
            install()?;
            *installed = true;
        }
        if let Some(node) = nodes().find(|node| node.range.load(Ordering::Relaxed) == 0) {
            node.faulty.store(false, Ordering::Relaxed);
            node.range.store(range, Ordering::Release);
            return Ok(Self(node));
        }
        let node = Node { range: AtomicU64::new(range), faulty: AtomicBool::new(false), next: FIRST.load(Ordering::Relaxed) };
        let node = Box::leak(Box::new(node));
        FIRST.store(node, Ordering::Release);
        Ok(Self(node))
    }

    /// Zeros were put in place of a page.
    pub fn is_faulty(&self) -> bool {
        self.0.faulty.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.range.store(0, Ordering::Release);
    }
}

fn packed(start: usize, len: usize) -> Option<u64> {
    let start = u64::try_from(start / UNIT).ok().filter(|start| *start < 1 << (64 - LENGTH_BITS))?;
    let len = u64::try_from(len.div_ceil(UNIT)).ok().filter(|len| *len < 1 << LENGTH_BITS)?;
    Some(start << LENGTH_BITS | len)
}

fn contains(range: u64, address: usize) -> bool {
    let (start, len) = (range >> LENGTH_BITS, range & ((1 << LENGTH_BITS) - 1));
    ((address / UNIT) as u64).checked_sub(start).is_some_and(|distance| distance < len)
}

#[expect(unsafe_code, reason = "see the list")]
fn nodes() -> impl Iterator<Item = &'static Node> {
    // SAFETY: a pointer in the list is null or leads to a leaked node; acquiring FIRST makes its content visible.
    let node = |place: *mut Node| unsafe { place.as_ref() };
    std::iter::successors(node(FIRST.load(Ordering::Acquire)), move |known| node(known.next))
}

#[expect(unsafe_code, reason = "std has no way to handle a signal")]
fn install() -> io::Result<()> {
    // SAFETY: both calls are given valid pointers, or none where none is needed; `sigaction` is plain data, for which zeros
    // are valid; `on_fault` has the signature that SA_SIGINFO asks for and is safe to run at any instant, as said above.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE);
        PAGE_BYTES.store(usize::try_from(page).unwrap_or(UNIT).max(UNIT), Ordering::Relaxed);
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        PREVIOUS.store(Box::into_raw(Box::new(previous.assume_init())), Ordering::Release);
        let mut ours = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        ours.sa_sigaction = on_fault as *const () as libc::sighandler_t;
        // The stack may be what is exhausted: where a thread has another one for signals, it is used.
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut ours.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The handler.
#[expect(unsafe_code, reason = "the kernel hands over raw pointers")]
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid `info` to a handler with SA_SIGINFO; a code above zero says that the kernel raised
    // the signal, and then it has the address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    if code > 0
        && let Some(node) = nodes().find(|node| contains(node.range.load(Ordering::Acquire), address))
    {
        let page = PAGE_BYTES.load(Ordering::Relaxed);
        // Before the zeros can be read: whoever sees them can see the mark.
        node.faulty.store(true, Ordering::Release);
        // SAFETY: the page lies in a map that nobody unmaps, as a thread is reading it. Nobody has read this content of the
        // page from here on: it cannot be read, that is the fault. Bytes of it that were read earlier, before the file was
        // cut, may differ from zeros, as bytes of any file that is cut or written do; no reader of a map relies on
        // reading the same twice for its safety, only on slices' lengths, which stay.
        let placed = unsafe {
            let start = ptr::with_exposed_provenance_mut(address / page * page);
            libc::mmap(start, page, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED, -1, 0)
        };
        if placed != libc::MAP_FAILED {
            return;
        }
    }
    pass_on(signal, info, context, code);
}

/// Does what would have been done without us.
#[expect(unsafe_code, reason = "the handler before us is called through a raw pointer")]
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void, code: libc::c_int) {
    let previous = PREVIOUS.load(Ordering::Acquire);
    // SAFETY: PREVIOUS was set before this handler was installed and is never freed. What it holds is what `sigaction` gave:
    // one of two constants, or a handler of the signature that its flags tell.
    unsafe {
        let Some(previous) = previous.as_ref() else { return };
        match previous.sa_sigaction {
            // A signal that somebody sent is ignored; a fault cannot be.
            libc::SIG_IGN if code <= 0 => {}
            libc::SIG_IGN | libc::SIG_DFL => {
                let mut default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, ptr::null_mut());
                // A fault happens again when we return; a signal that was sent has to be sent again.
                if code <= 0 {
                    libc::raise(signal);
                }
            }
            handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ranges_pack_into_a_number() {
        let range = packed(5 * UNIT, 2 * UNIT + 1).unwrap();
        assert!(!contains(range, 5 * UNIT - 1) && contains(range, 5 * UNIT) && contains(range, 8 * UNIT - 1) && !contains(range, 8 * UNIT));
        assert!(!contains(0, 0) && !contains(0, 5 * UNIT));
        let highest = packed((1 << 47) - UNIT, UNIT).unwrap();
        assert!(contains(highest, (1 << 47) - 1) && !contains(highest, 1 << 47));
        assert_eq!(packed(UNIT, 1 << 41), None);
    }
}
