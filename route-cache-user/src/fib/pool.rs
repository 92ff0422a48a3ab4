//! Values that are many times the same, kept once: a table of a million routes has a few thousand different ones.

use std::{hash::Hash, sync::Arc};

use super::hashed::HashedMap;

/// Where a value is in its [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(u32);

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    users: u32,
}

/// Values by handle, each with the number of its users.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    kept: Vec<Option<Kept<T>>>,
    handles: HashedMap<Arc<T>, Handle>,
    free: Vec<Handle>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), handles: HashedMap::default(), free: Vec::new() }
    }
}

impl<T: Eq + Hash> Pool<T> {
    /// One more user of a value.
    pub(crate) fn take(&mut self, value: T) -> Handle {
        if let Some(handle) = self.handles.get(&value).copied() {
            if let Some(kept) = self.kept.get_mut(handle.0 as usize).and_then(Option::as_mut) {
                kept.users += 1;
            }
            return handle;
        }
        let value = Arc::new(value);
        let kept = Some(Kept { value: Arc::clone(&value), users: 1 });
        let handle = match self.free.pop() {
            Some(handle) => {
                self.kept[handle.0 as usize] = kept;
                handle
            }
            None => {
                let handle = Handle(self.kept.len() as u32);
                self.kept.push(kept);
                handle
            }
        };
        self.handles.insert(value, handle);
        handle
    }

    /// One user less.
    pub(crate) fn give_back(&mut self, handle: Handle) {
        let Some(place) = self.kept.get_mut(handle.0 as usize) else {
            return;
        };
        let Some(kept) = place.as_mut() else {
            return;
        };
        kept.users -= 1;
        if kept.users == 0
            && let Some(kept) = place.take()
        {
            self.handles.remove(&kept.value);
            self.free.push(handle);
        }
    }

    /// How many different values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    /// The value of a handle that was taken and not given back.
    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        self.kept.get(handle.0 as usize)?.as_ref().map(|kept| &*kept.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_once_and_as_long_as_it_has_users() {
        let mut pool = Pool::default();
        let first = pool.take("one");
        let other = pool.take("two");
        assert_eq!(pool.take("one"), first);
        pool.give_back(first);
        assert_eq!((pool.get(first), pool.get(other)), (Some(&"one"), Some(&"two")));
        pool.give_back(first);
        assert_eq!(pool.get(first), None);
        assert_eq!(pool.take("three"), first, "its place is used again");
        assert_eq!(pool.handles.len(), 2);
    }
}
