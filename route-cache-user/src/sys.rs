//! System calls that no library offers: batch operations on BPF maps, removal from a device map, maps in
//! memory (aya 0.14 has none of them); and a setting of the C library.

#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, RawFd},
    ptr::NonNull,
    sync::atomic::AtomicU16,
};

use aya::Pod;

/// `bpf_cmd` (include/uapi/linux/bpf.h), since Linux 5.6.
#[derive(Clone, Copy)]
enum Command {
    LookupElement = 1,
    DeleteElement = 3,
    Lookup = 24,
    Update = 26,
    Delete = 27,
    /// BPF_OBJ_GET_INFO_BY_FD, since Linux 4.13.
    Info = 15,
}

/// `struct { … } batch` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// How far a batch got, and what stopped it.
pub(crate) type BatchResult = Result<(), (usize, io::Error)>;

/// The part of `union bpf_attr` for single elements.
#[repr(C)]
struct ElementAttr {
    map_fd: u64,
    key: u64,
    value: u64,
    flags: u64,
}

fn bpf<A>(command: Command, attr: &mut A) -> io::Result<()> {
    // SAFETY: the callers below point the attribute at buffers that they borrow for the call and that hold as many
    // elements as it says, of the sizes the map was made with.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<A>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn attr<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> BatchAttr {
    BatchAttr {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: map.as_raw_fd() as u32,
        ..BatchAttr::default()
    }
}

/// Writes elements, in order. `K` and `V` must be the map's own types.
pub(crate) fn update_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> BatchResult {
    assert_eq!(keys.len(), values.len(), "a value for each key");
    if keys.is_empty() {
        return Ok(());
    }
    let mut attr = attr(map, keys, values);
    bpf(Command::Update, &mut attr).map_err(|error| (attr.count as usize, error))
}

/// Removes elements, in order. A key that is not there stops the batch with `ENOENT`.
pub(crate) fn delete_batch<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> BatchResult {
    if keys.is_empty() {
        return Ok(());
    }
    let mut attr = attr::<K, u8>(map, keys, &[]);
    bpf(Command::Delete, &mut attr).map_err(|error| (attr.count as usize, error))
}

/// Reads one element. `K` and `V` must be the map's own types.
pub(crate) fn lookup<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &mut V,
) -> io::Result<()> {
    let map_fd = map.as_raw_fd() as u64;
    let (key, value) = (&raw const *key as u64, &raw mut *value as u64);
    bpf(Command::LookupElement, &mut ElementAttr { map_fd, key, value, flags: 0 })
}

/// Removes one element, whatever the type of the map. `K` must be the map's own type.
pub(crate) fn delete<K: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let map_fd = map.as_raw_fd() as u64;
    bpf(
        Command::DeleteElement,
        &mut ElementAttr { map_fd, key: &raw const *key as u64, value: 0, flags: 0 },
    )
}

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct MapInfo {
    /// `enum bpf_map_type`.
    pub(crate) kind: u32,
    /// What no other map has.
    pub(crate) id: u32,
    /// Bytes of a key.
    pub(crate) key_size: u32,
    _value_size: u32,
    _max_entries: u32,
    _flags: u32,
    name: [u8; 16],
}

impl MapInfo {
    /// Its name, cut off by the kernel; empty if it has none.
    pub(crate) fn name(&self) -> &str {
        let bytes = self.name.split(|byte| *byte == 0).next().unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }
}

/// What the kernel knows of a map; an error if the descriptor is not one of a map's.
pub(crate) fn map_info(fd: RawFd) -> io::Result<MapInfo> {
    #[repr(C)]
    struct InfoAttr {
        fd: u32,
        size: u32,
        info: u64,
    }
    let mut info = MapInfo::default();
    let (size, at) = (size_of::<MapInfo>() as u32, &raw mut info as u64);
    bpf(Command::Info, &mut InfoAttr { fd: fd.cast_unsigned(), size, info: at })?;
    Ok(info)
}

/// A walk over a hash map, a batch of buckets at a time, or over an array. It ends even if the map changes meanwhile: the
/// kernel counts buckets, of which there is a fixed number.
pub(crate) struct Walk<'a, K, V> {
    map: BorrowedFd<'a>,
    position: Option<u32>,
    done: bool,
    keys: Vec<K>,
    values: Vec<V>,
}

impl<'a, K: Pod + Default, V: Pod> Walk<'a, K, V> {
    /// A walk that takes up to `batch` elements at a time. `K` and `V` must be the map's own types.
    pub(crate) fn new(map: BorrowedFd<'a>, batch: usize, empty: V) -> Self {
        let batch = batch.max(1);
        Self {
            map,
            position: None,
            done: false,
            keys: vec![K::default(); batch],
            values: vec![empty; batch],
        }
    }

    /// The same from where another has stopped.
    pub(crate) fn resumed(map: BorrowedFd<'a>, batch: usize, empty: V, from: Option<u32>) -> Self {
        Self { position: from, ..Self::new(map, batch, empty) }
    }

    /// Where it has stopped; nothing at the end.
    pub(crate) fn position(&self) -> Option<u32> {
        self.position.filter(|_| !self.done)
    }

    /// The same, but of an array from behind an index on.
    pub(crate) fn behind(self, index: Option<u32>) -> Self {
        Self { position: index, ..self }
    }

    /// The next elements; nothing at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<(&[K], &[V])>> {
        while !self.done {
            let mut next = 0u32;
            let mut attr = attr(self.map, &self.keys, &self.values);
            attr.in_batch =
                self.position.as_ref().map_or(0, |position| &raw const *position as u64);
            attr.out_batch = &raw mut next as u64;
            // The kernel fills buffers that this walk owns.
            attr.keys = self.keys.as_mut_ptr() as u64;
            attr.values = self.values.as_mut_ptr() as u64;
            let count = match bpf(Command::Lookup, &mut attr) {
                Ok(()) => attr.count as usize,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    self.done = true;
                    attr.count as usize
                }
                // A bucket holds more than fits.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    let (len, empty) = (self.keys.len() * 2, self.values[0]);
                    self.keys.resize(len, K::default());
                    self.values.resize(len, empty);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.position = Some(next);
            if count > 0 {
                return Ok(Some((&self.keys[..count], &self.values[..count])));
            }
        }
        Ok(None)
    }
}

/// An array of half words that lies in this process's memory: the program sees what is stored there.
pub(crate) struct Mapping {
    at: NonNull<AtomicU16>,
    len: usize,
}

// SAFETY: memory of the process's own, reached through atomics only; nothing of it belongs to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the values of an array, `len` half words in all. It must have been made with BPF_F_MMAPABLE.
    pub(crate) fn new(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let (bytes, access) = (len * size_of::<AtomicU16>(), libc::PROT_READ | libc::PROT_WRITE);
        let fd = map.as_raw_fd();
        // SAFETY: a new mapping at a place of the kernel's choice.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, fd, 0) };
        match NonNull::new(at.cast()) {
            Some(place) if at != libc::MAP_FAILED => Ok(Self { at: place, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The half words.
    pub(crate) fn values(&self) -> &[AtomicU16] {
        // SAFETY: mapped for reads and writes for as long as `self` lives, aligned to a page; the kernel refuses to map
        // more than the map holds.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and borrowed by nobody any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len * size_of::<AtomicU16>()) };
    }
}
/// Has glibc give large blocks back to the kernel as soon as they are free: what a plan of a million routes took would
/// stay with the process. By itself it stops doing so once a large block has been freed (`mallopt(3)`).
pub(crate) fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 1 << 20;
        // SAFETY: it sets a number. If it fails, more memory is kept.
        let _is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}
