//! placeholder
#![allow(dead_code)]

mod fib;

fn main() {}
