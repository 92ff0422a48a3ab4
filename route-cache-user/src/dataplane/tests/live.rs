//! Live frames: what is redirected does leave, by the interface it should, and it alone.

use std::os::fd::{AsRawFd as _, OwnedFd};

use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};
use nix::{
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::TimeVal,
    },
};

use super::{
    bench::{Bench, GATEWAY_MAC, OUT_MAC, SMALL, context, forwarder, on_bench},
    frame::Frame,
    model,
};
use crate::fib::netlink::namespace::run;

#[test]
fn a_live_frame_arrives_at_the_far_end_as_it_left() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let far = listen("out-far");
        let padded = Frame { padding: vec![0xee; 13], ..Frame::udp() }.bytes();
        for frame in [Frame::udp().bytes(), padded, Frame::of_size(1500).bytes()] {
            send_live(bench, &frame);
            assert_eq!(receive(&far), model::forwarded(&frame, GATEWAY_MAC, OUT_MAC));
        }
        // One that passes does not leave: the next to arrive is the one sent after it.
        send_live(bench, &Frame { ttl: 1, ..Frame::udp() }.bytes());
        let frame = Frame { id: 99, ..Frame::udp() }.bytes();
        send_live(bench, &frame);
        assert_eq!(receive(&far), model::forwarded(&frame, GATEWAY_MAC, OUT_MAC));
    });
}

pub(super) fn send_live(bench: &Bench, frame: &[u8]) {
    let context = context(bench.ingress, frame.len());
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        attrs: TestRunAttrs::new().xdp_live_frames(1),
        ..TestRunOptions::default()
    };
    forwarder(&bench.plane.ebpf).test_run(options).expect("the kernel runs the program");
}

/// A socket that hears every frame an interface receives.
pub(super) fn listen(interface: &str) -> OwnedFd {
    // What an interface sends by itself would be heard, too; it has no address to send from.
    run(&format!("ip address flush dev {interface}"));
    let listener =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
            .expect("this is root");
    let is_it = |address: &nix::ifaddrs::InterfaceAddress| {
        address.interface_name == interface
            && address.address.as_ref().is_some_and(|a| a.as_link_addr().is_some())
    };
    let address = getifaddrs().expect("readable").find(is_it).expect("the interface is there");
    let address = address.address.expect("it was looked for");
    bind(listener.as_raw_fd(), address.as_link_addr().expect("likewise")).expect("it binds");
    let patience = TimeVal::from(libc::timeval { tv_sec: 5, tv_usec: 0 });
    setsockopt(&listener, ReceiveTimeout, &patience).expect("it is set");
    listener
}

pub(super) fn receive(listener: &OwnedFd) -> Vec<u8> {
    let mut frame = vec![0; 4096];
    let len = recv(listener.as_raw_fd(), &mut frame, MsgFlags::empty()).expect("a frame arrives");
    frame.truncate(len);
    frame
}
