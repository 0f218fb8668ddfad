//! Unwrapped keys, ready for use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys by their wrapped form, the least recently used leaving first. Only what was unwrapped under the root gets in.
///
/// Not a cache crate's: theirs bound and drop when it suits them, and here a key that leaves must be zeroed (or
/// destroyed in the HSM) as soon as nobody uses it.
pub struct Ready<K> {
    most: usize,
    held: Mutex<Held<K>>,
}

struct Held<K> {
    keys: HashMap<Box<[u8]>, Entry<K>>,
    uses: u64,
}

struct Entry<K> {
    key: Arc<K>,
    last_use: u64,
}

impl<K> Ready<K> {
    pub fn new(most: usize) -> Self {
        Self { most, held: Mutex::new(Held { keys: HashMap::new(), uses: 0 }) }
    }

    /// The key, from here or by `unwrap`. Two who ask for the same new key at once may both unwrap it.
    pub fn get<E>(
        &self,
        wrapped: &[u8],
        unwrap: impl FnOnce() -> std::result::Result<K, E>,
    ) -> std::result::Result<Arc<K>, E> {
        if let Some(key) = self.find(wrapped) {
            return Ok(key);
        }
        let key = Arc::new(unwrap()?);
        self.keep(wrapped, key.clone());
        Ok(key)
    }

    fn find(&self, wrapped: &[u8]) -> Option<Arc<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.uses += 1;
        let now = held.uses;
        let entry = held.keys.get_mut(wrapped)?;
        entry.last_use = now;
        Some(entry.key.clone())
    }

    fn keep(&self, wrapped: &[u8], key: Arc<K>) {
        if self.most == 0 {
            return;
        }
        // Those that leave are dropped after the lock is.
        let (mut leaving, replaced);
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            leaving = None;
            if held.keys.len() >= self.most && !held.keys.contains_key(wrapped) {
                // A look at each, which is little beside what unwrapping cost.
                let oldest = held.keys.iter().min_by_key(|(_, entry)| entry.last_use);
                let oldest = oldest.map(|(wrapped, _)| wrapped.clone());
                leaving = oldest.and_then(|wrapped| held.keys.remove(&wrapped));
            }
            held.uses += 1;
            let last_use = held.uses;
            replaced = held.keys.insert(wrapped.into(), Entry { key, last_use });
        }
        drop((leaving.take(), replaced));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(ready: &Ready<u8>, wrapped: u8) -> (bool, Arc<u8>) {
        let mut unwrapped = false;
        let key = ready.get(&[wrapped], || {
            unwrapped = true;
            Ok::<_, ()>(wrapped)
        });
        (unwrapped, key.unwrap())
    }

    #[test]
    fn the_least_recently_used_leaves_at_once() {
        let ready = Ready::new(2);
        let (_, first) = get(&ready, 1);
        get(&ready, 2);
        assert!(!get(&ready, 1).0);
        let second = Arc::downgrade(&get(&ready, 2).1);
        get(&ready, 1);
        get(&ready, 3);
        assert!(second.upgrade().is_none(), "evicted and dropped");
        assert!(!get(&ready, 1).0 && get(&ready, 2).0);
        assert_eq!(*first, 1);
    }

    #[test]
    fn what_does_not_unwrap_is_not_kept() {
        let ready = Ready::<u8>::new(2);
        assert_eq!(ready.get(&[1], || Err("forged")).unwrap_err(), "forged");
        assert!(get(&ready, 1).0);
    }

    #[test]
    fn none_are_kept_in_no_room() {
        let ready = Ready::new(0);
        assert_eq!(Arc::strong_count(&get(&ready, 1).1), 1);
        assert!(get(&ready, 1).0);
    }
}
