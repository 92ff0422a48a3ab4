//! The system calls for which no library has a safe function. The only module with unsafe code.
#![allow(unsafe_code)]

use std::{
    io,
    mem::{size_of, zeroed},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    ptr::from_mut,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::{
        prctl::set_pdeathsig,
        signal::{SigSet, Signal},
    },
};

/// Lets the child start in the network namespace `netns`, with no signal blocked, out of reach of Ctrl-C, and die with
/// the thread that starts it.
pub(crate) fn prepare_child(command: &mut Command, netns: Option<RawFd>) {
    let prepare = move || {
        // Signals that the lab blocks to wait for them would stay blocked in the child.
        SigSet::empty().thread_set_mask()?;
        set_pdeathsig(Signal::SIGKILL)?;
        if let Some(netns) = netns {
            // SAFETY: the caller keeps the descriptor open until the child has started; fork has copied it.
            let netns = unsafe { BorrowedFd::borrow_raw(netns) };
            setns(netns, CloneFlags::CLONE_NEWNET)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(prepare) };
    // A group of its own: the lab gets Ctrl-C and ends its processes in order.
    command.process_group(0);
}

/// Opens an AF_PACKET socket that sees whole frames of all protocols which come in on the interface, none that go out.
pub(crate) fn packet_socket(ifindex: u32) -> io::Result<OwnedFd> {
    // Protocol 0: nothing is received until the socket is bound, so no frame of another interface gets in.
    // SAFETY: no pointers; the result is checked.
    let fd = Errno::result(unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    })?;
    // SAFETY: just opened, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)?;

    // SAFETY: a plain struct of integers, for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex as i32;
    // SAFETY: the pointer and the length are those of a local of the type that AF_PACKET wants.
    Errno::result(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    })?;
    Ok(socket)
}

fn set_option(socket: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a local integer.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    })?;
    Ok(())
}

/// A VLAN tag that the kernel took out of a frame: protocol and tag control information.
pub(crate) type VlanTag = (u16, u16);

/// Receives a frame without waiting, and the VLAN tag that the kernel took out of it.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<VlanTag>)> {
    // Of u64 for the alignment of a cmsghdr.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a plain struct of integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = from_mut(&mut part);
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in the message is to a local or to the caller's buffer, with its true length.
    let length =
        Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), from_mut(&mut message), 0) })?;

    let mut tag = None;
    // SAFETY: the message is the one that recvmsg has filled in.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header within `control`.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if level == libc::SOL_PACKET && kind == libc::PACKET_AUXDATA {
            // SAFETY: this type carries a tpacket_auxdata; it may stand unaligned.
            let aux: libc::tpacket_auxdata =
                unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
            if aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                tag = Some((aux.tp_vlan_tpid, aux.tp_vlan_tci));
            }
        }
        // SAFETY: the header is one of this message.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok((length as usize, tag))
}

/// Kind of a BPF program: `enum bpf_prog_type`, and `enum bpf_attach_type` with the flags of its attachment to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProgramKind {
    program: u32,
    attachment: u32,
    flags: u32,
}

impl ProgramKind {
    /// XDP, in the driver: BPF_PROG_TYPE_XDP, BPF_XDP, XDP_FLAGS_DRV_MODE.
    pub(crate) const XDP: Self = Self { program: 6, attachment: 37, flags: 1 << 2 };
    /// tcx on the ingress, Linux 6.6: BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS.
    pub(crate) const TCX_INGRESS: Self = Self { program: 3, attachment: 46, flags: 0 };
}

/// Loads a program of a few instructions.
pub(crate) fn load(kind: ProgramKind, instructions: &[u64]) -> io::Result<OwnedFd> {
    /// The part of `union bpf_attr` that BPF_PROG_LOAD needs.
    #[repr(C)]
    struct Load {
        program_type: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
    }
    const BPF_PROG_LOAD: i32 = 5;
    let load = Load {
        program_type: kind.program,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
    };
    // SAFETY: the pointers are to the caller's slice and to a constant, which outlive the call.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &load) }?;
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to an interface of this thread's namespace, for as long as the result lives.
pub(crate) fn attach(kind: ProgramKind, program: &OwnedFd, ifindex: u32) -> io::Result<OwnedFd> {
    /// The part of `union bpf_attr` that BPF_LINK_CREATE needs, and zeros for what may follow.
    #[repr(C)]
    struct Create {
        program: u32,
        ifindex: u32,
        attach_type: u32,
        flags: u32,
        more: [u64; 4],
    }
    const BPF_LINK_CREATE: i32 = 28;
    let ProgramKind { attachment: attach_type, flags, .. } = kind;
    let program = program.as_raw_fd().cast_unsigned();
    let create = Create { program, ifindex, attach_type, flags, more: [0; 4] };
    // SAFETY: the struct is what the command reads, without pointers.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &create) }?;
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs an XDP program on `count` copies of a frame, and does with them what it says.
pub(crate) fn run_live_frames(program: &OwnedFd, frame: &[u8], count: u32) -> io::Result<()> {
    /// `union bpf_attr` as BPF_PROG_TEST_RUN needs it.
    #[repr(C)]
    struct Run {
        program: u32,
        result: u32,
        input_size: u32,
        output_size: u32,
        input: u64,
        output: u64,
        repeat: u32,
        duration: u32,
        context_input_size: u32,
        context_output_size: u32,
        context_input: u64,
        context_output: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        padding: u32,
    }
    const BPF_PROG_TEST_RUN: i32 = 10;
    const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
    // SAFETY: a plain struct of integers, for which zero is valid.
    let mut run: Run = unsafe { zeroed() };
    run.program = program.as_raw_fd().cast_unsigned();
    (run.input, run.input_size) = (frame.as_ptr() as u64, frame.len() as u32);
    (run.repeat, run.flags) = (count, BPF_F_TEST_XDP_LIVE_FRAMES);
    // SAFETY: the only pointer is to the caller's slice, with its true length; the kernel reads it.
    unsafe { bpf(BPF_PROG_TEST_RUN, &run) }?;
    Ok(())
}

/// # Safety
/// `attributes` has to be what the command reads, its pointers valid for as long as the kernel takes.
unsafe fn bpf<T>(command: i32, attributes: &T) -> io::Result<RawFd> {
    let pointer: *const T = attributes;
    // SAFETY: the pointer and the size are those of the struct; the rest is the caller's promise.
    let result =
        Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) })?;
    Ok(result as RawFd)
}
