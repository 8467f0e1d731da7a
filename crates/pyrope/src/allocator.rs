//! The allocator, and what it keeps.
//!
//! Threads of a scrape's batch and of a query free what others allocated; mimalloc makes that cheap. Pages that are free it
//! gives back to the operating system after a second, but only when a thread happens to ask it for much. After a burst nobody
//! does: a third of what a server with a hundred thousand series held was free.

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const INTERVAL: Duration = Duration::from_secs(2);

/// Gives back now and then what is free; never ends.
pub async fn give_back_regularly() {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // The system calls may take milliseconds, which the I/O threads do not have.
        if tokio::task::spawn_blocking(give_back).await.is_err() {
            return;
        }
    }
}

#[expect(unsafe_code, reason = "the allocator is a C library, and this call of it has no safe wrapper")]
fn give_back() {
    // SAFETY: it takes no pointer, may be called by any thread at any time, and touches only memory that nobody has.
    unsafe { libmimalloc_sys::mi_collect(false) };
}
