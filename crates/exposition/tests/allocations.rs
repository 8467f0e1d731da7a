//! A page whose series are known is read without a single allocation.
#![expect(unsafe_code, reason = "only a global allocator sees every allocation")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read;

use exposition::{Entry, Format, Parser};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local integer only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` comes from `alloc` above, so from the system's allocator, with the same layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(page: &[u8], format: Format, known: bool) -> (usize, usize) {
    let before = COUNT.with(Cell::get);
    let mut parser = Parser::new(page, format);
    let mut samples = 0;
    while let Some(entry) = parser.next_known(|_, _| known).expect("a good page") {
        samples += usize::from(matches!(entry, Entry::Sample(_)));
    }
    (samples, COUNT.with(Cell::get) - before)
}

#[test]
fn none_for_the_page_of_the_race() {
    let mut page = Vec::new();
    let packed = include_bytes!("../../../testdata/exposition/race_page.txt.gz");
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut page).expect("gzip");
    // Every word before the last blank is a series in this page, so all may be called known.
    assert_eq!(allocations(&page, Format::PrometheusText, true), (2000, 0));
    assert_eq!(allocations(&page, Format::PrometheusText, false), (2000, 0));
}

#[test]
fn none_off_the_fast_path() {
    let page = b"# TYPE a counter\n{\"b.c\",\"d e\"=\"x\\n\"} 1.5e300 3\na{x=\"1\"} 1 # {id=\"7\"} 2 3.5\n# EOF\n";
    assert_eq!(allocations(page, Format::OpenMetrics, false), (2, 0));
    assert_eq!(allocations(b"# a comment\n  a{ x = \"1\" , } 0.1234567890123456789 5", Format::PrometheusText, false), (1, 0));
}
