//! The one system call for which aya 0.14 has no function.

#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// Removes an element from a map whose keys are of 4 bytes. That there is none is no error.
pub(crate) fn delete(map: BorrowedFd<'_>, key: u32) -> io::Result<()> {
    /// The part of `union bpf_attr` for single elements.
    #[repr(C)]
    struct Element {
        map: u64,
        key: u64,
        value: u64,
        flags: u64,
    }
    const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
    let map = map.as_raw_fd().cast_unsigned().into();
    let element = Element { map, key: &raw const key as u64, value: 0, flags: 0 };
    // SAFETY: the kernel reads the struct, which is as long as said, and 4 bytes of key, which outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_DELETE_ELEM, &raw const element, size_of::<Element>())
    };
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        error => Err(error),
    }
}
