//! Memory that is not written to swap.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Once;

/// A page of its own (on most machines), so that unlocking one value leaves its neighbours locked.
#[repr(align(4096))]
struct Page<T>(ManuallyDrop<T>);

/// A value on the heap whose memory the system keeps out of swap. `T` must hold its secrets inline and zero them
/// when dropped.
///
/// A system that locks no memory (`RLIMIT_MEMLOCK`) is reported once, and does not stop the signer.
pub struct Locked<T>(Box<Page<T>>);

impl<T> Locked<T> {
    pub fn new(value: T) -> Self {
        let page = Box::new(Page(ManuallyDrop::new(value)));
        let at = std::ptr::from_ref::<Page<T>>(&page).cast_mut().cast();
        #[expect(unsafe_code, reason = "mlock takes an address")]
        // SAFETY: address and length are those of a live allocation; locking changes none of its content.
        let locked = unsafe { rustix::mm::mlock(at, size_of::<Page<T>>()) };
        if let Err(error) = locked {
            static REPORTED: Once = Once::new();
            REPORTED.call_once(|| {
                tracing::warn!(%error, "key memory can't be locked and may be swapped to disk: raise RLIMIT_MEMLOCK");
            });
        }
        Self(page)
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.0
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "the value is zeroed in place before its memory is unlocked")]
        // SAFETY: dropped here alone, and not used after.
        unsafe {
            ManuallyDrop::drop(&mut self.0.0);
        }
        let at = std::ptr::from_mut::<Page<T>>(&mut self.0).cast();
        #[expect(unsafe_code, reason = "munlock takes an address")]
        // SAFETY: address and length are those of the allocation, which lives until this function returns. A page
        // that was never locked is left as it is.
        let _ = unsafe { rustix::mm::munlock(at, size_of::<Page<T>>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Counts<'a>(&'a AtomicU32);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_locked_value_is_dropped_once_and_has_its_own_page() {
        let drops = AtomicU32::new(0);
        let (a, b) = (Locked::new(Counts(&drops)), Locked::new(Counts(&drops)));
        let page = |locked: &Locked<Counts<'_>>| std::ptr::from_ref(&**locked).addr() / 4096;
        assert_ne!(page(&a), page(&b));
        drop(a);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        drop(b);
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn locked_memory_is_counted_by_the_system() {
        let locked_kib = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let before = locked_kib();
        let key = Locked::new([7u8; 32]);
        assert!(locked_kib() >= before + 4, "no memory was locked: is RLIMIT_MEMLOCK zero?");
        drop(key);
    }
}
