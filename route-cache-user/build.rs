//! Takes in the BPF object that `cargo xtask build` made, or that a packager hands in.

use std::{env, fs, path::PathBuf};

fn main() {
    const HANDED_IN: &str = "ROUTE_CACHE_BPF_OBJECT";
    println!("cargo:rerun-if-env-changed={HANDED_IN}");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let object = env::var_os(HANDED_IN)
        .map_or_else(|| root.join("../target/bpf/route-cache.o"), PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("route-cache.o");
    if let Err(error) = fs::copy(&object, &out) {
        println!(
            "cargo:error=the BPF object {} cannot be read ({error}): run `cargo xtask build`, or set {HANDED_IN}",
            object.display()
        );
    }
}
