//! Maps by hash for tables of a million routes: with a hash that is several times as fast as the standard library's, seeded by
//! process.

use foldhash::fast::RandomState;

/// By hash.
pub(crate) type HashedMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Likewise.
pub(crate) type HashedSet<K> = std::collections::HashSet<K, RandomState>;
