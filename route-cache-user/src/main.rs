//! placeholder
#![allow(dead_code, unused_imports)]

mod fib;

fn main() {}
